"""Laws of hard particles (hard_branch.py): of the next hardest score, and of a place.

Each is a density and the rule by which it is drawn from.
"""

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from hitools.core.nets.mixtures import (
    LOG_ROOT,
    chosen_part,
    drawn_between,
    log_share_between,
)

CELL_ETAS: Final = tuple(0.5 * k for k in range(-4, 5))
"""Of the grid, as scores: evenly apart."""

N_CELL_PHIS: Final = 24

TURNS: Final = 2
"""Of a normal law around the circle, to either side, at most."""

ONE_TURN: Final = 0.8
"""Widest law that more than one turn adds nothing to: less than e^-60."""

LOG_CELL_WIDTHS: Final = (math.log(0.05), math.log(0.7))
"""So narrow that the law of a cell does not reach around the circle."""

_LOG_SAME: Final = -1e-6
"""Share at least between two scores: float32 may not tell them apart."""

_FARTHEST: Final = 30.0


def rank_of_score(score: Tensor, above: Tensor, left: Tensor) -> tuple[Tensor, Tensor]:
    """Where a score lies in the law of the highest of so many independent particles below another.

    Args:
        score: (n,).
        above: (n,) the score before it.
        left: (n,) how many particles are below that.

    Returns:
        (n,) normal score of the probability that all of them are below score, and the logarithm of
        how fast it rises with score.
    """
    score, above = score.double(), above.double()
    log_below = torch.special.log_ndtr(score)
    log_share = (left * (log_below - torch.special.log_ndtr(above))).clamp(max=_LOG_SAME)
    place = _ndtri_of_log(log_share)
    slope_of_place = (place.square() - score.square()) / 2
    log_slope = left.clamp(min=1).log() + log_share - log_below + slope_of_place
    return place.float(), log_slope.float()


def score_of_rank(place: Tensor, above: Tensor, left: Tensor) -> Tensor:
    """The score that lies there; the inverse of rank_of_score."""
    log_share = torch.special.log_ndtr(place.double()) / left.clamp(min=1)
    return _ndtri_of_log(log_share + torch.special.log_ndtr(above.double())).to(place.dtype)


def _ndtri_of_log(log_share: Tensor) -> Tensor:
    """Normal score of a probability that is given by its logarithm, near 1 too."""
    upper = -torch.special.ndtri(-torch.expm1(log_share))
    lower = torch.special.ndtri(log_share.exp())
    found = torch.where(log_share > -math.log(2), upper, lower)
    return found.clamp(-_FARTHEST, _FARTHEST)


@dataclass(frozen=True)
class Places:
    """A mixture of normal laws of the score of eta and, around the circle, of phi.

    Attributes:
        log_weight: (n, k + cells) of k parts with places of their own, and of all cells.
        eta: (n, k) of these parts, as the next three.
        log_eta_width: their widths.
        phi: their azimuths.
        log_phi_width: their widths.
        log_cell_widths: (2,) of a cell, in eta and phi.
        window: (n,) lowest and highest score of eta: what lies between is all there is. None where
            scores may be any.
        turns: of a part around the circle, to either side, that add to its density.
    """

    log_weight: Tensor
    eta: Tensor
    log_eta_width: Tensor
    phi: Tensor
    log_phi_width: Tensor
    log_cell_widths: Tensor
    window: tuple[Tensor, Tensor] | None = None
    turns: int = TURNS

    def log_density(self, eta: Tensor, phi: Tensor) -> Tensor:
        """(n,) logarithm of the density at (n,) scores of eta and (n,) phi."""
        along = (eta[:, None] - self.eta) * (-self.log_eta_width).exp()
        turns = torch.arange(-self.turns, self.turns + 1, device=phi.device) * (2 * math.pi)
        turn = turned(phi[:, None] - self.phi)[..., None] + turns
        around = turn * (-self.log_phi_width).exp()[..., None]
        log_around = (-around.square() / 2).logsumexp(2) - self.log_phi_width
        of_parts = log_around - self.log_eta_width - along.square() / 2
        of_cells = self._log_of_cell_etas(eta)[:, :, None] + self._log_of_cell_phis(phi)[:, None]
        every = torch.cat([of_parts, of_cells.flatten(1)], dim=1)
        found = (self.log_weight + every).logsumexp(1) - 2 * LOG_ROOT
        return found if self.window is None else found - self._log_weight_within().logsumexp(1)

    def mean_waves(self, eta: Tensor, harmonic: int) -> Tensor:
        """(n, 2) mean cos and sin of a multiple of phi, where the (n,) scores of eta are known."""
        centre, log_eta_width, phi, log_phi_width = self._every()
        along = (eta[:, None] - centre) * (-log_eta_width).exp()
        share = (self.log_weight - log_eta_width - along.square() / 2).softmax(1)
        damped = share * (-(harmonic * log_phi_width.exp()).square() / 2).exp()
        turn = harmonic * phi
        return torch.stack([(damped * turn.cos()).sum(1), (damped * turn.sin()).sum(1)], dim=1)

    def drawn(self, share: Tensor, numbers: Tensor) -> Tensor:
        """(n, 2) score of eta and phi from (n,) even numbers and (n, 2) normal ones."""
        part = chosen_part(self._log_weight_within(), share)
        eta, log_eta_width, phi, log_phi_width = (
            one.gather(1, part)[:, 0] for one in self._every()
        )
        away = numbers[:, 0]
        if self.window is not None:
            left, right = ((edge - eta) * (-log_eta_width).exp() for edge in self.window)
            away = drawn_between(left, right, away)
        return torch.stack(
            [eta + log_eta_width.exp() * away, turned(phi + log_phi_width.exp() * numbers[:, 1])],
            dim=1,
        )

    def _log_weight_within(self) -> Tensor:
        """(n, k + cells) log_weight, and the logarithm of the share of a part in the window."""
        if self.window is None:
            return self.log_weight
        n, k = self.eta.shape
        centres = self.eta.new_tensor(CELL_ETAS).expand(n, -1)
        centre = torch.cat([self.eta, centres], dim=1)
        log_width = torch.cat(
            [self.log_eta_width, self.log_cell_widths[0].expand(n, len(CELL_ETAS))], dim=1
        )
        left, right = ((edge[:, None] - centre) * (-log_width).exp() for edge in self.window)
        of_parts, of_cells = log_share_between(left, right).tensor_split([k], dim=1)
        of_cells = of_cells.repeat_interleave(N_CELL_PHIS, dim=1)
        return self.log_weight + torch.cat([of_parts, of_cells], dim=1)

    def _log_of_cell_etas(self, eta: Tensor) -> Tensor:
        """(n, cells of eta) logarithms of normal laws, but for a constant."""
        width = self.log_cell_widths[0]
        away = (eta[:, None] - eta.new_tensor(CELL_ETAS)) * (-width).exp()
        return -width - away.square() / 2

    def _log_of_cell_phis(self, phi: Tensor) -> Tensor:
        """(n, cells of phi) likewise."""
        width = self.log_cell_widths[1]
        away = turned(phi[:, None] - cell_phis(phi)) * (-width).exp()
        return -width - away.square() / 2

    def _every(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Each (n, k + cells): eta, its width, phi, its width of all parts and cells."""
        grid = self.eta.new_zeros(len(self.eta), len(CELL_ETAS), N_CELL_PHIS)
        cells = (
            grid.new_tensor(CELL_ETAS)[:, None],
            self.log_cell_widths[0],
            cell_phis(grid),
            self.log_cell_widths[1],
        )
        parts = self.eta, self.log_eta_width, self.phi, self.log_phi_width
        eta, log_eta_width, phi, log_phi_width = (
            torch.cat([part, (grid + cell).flatten(1)], dim=1)
            for part, cell in zip(parts, cells, strict=True)
        )
        return eta, log_eta_width, phi, log_phi_width


def turned(phi: Tensor) -> Tensor:
    """The same angles between -pi and pi."""
    return torch.remainder(phi + math.pi, 2 * math.pi) - math.pi


def cell_phis(like: Tensor) -> Tensor:
    """(N_CELL_PHIS,) centres of cells."""
    return torch.arange(N_CELL_PHIS, device=like.device) * (2 * math.pi / N_CELL_PHIS)
