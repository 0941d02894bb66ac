"""All particles of a small event, by their likelihood (particle_lists.py).

A small event knows nearly all of its particles by their sums: twenty particles are sixty numbers,
and the sums in slices are sixty too. Particles that are moved until these are met are pushed on
each other. So events of few particles are drawn without slices and without a diffusion, from the
hardest particle down. The last ones have to fulfil what the event's sums still miss: mean pT, Q and
mean eta. Where that leads is worked out for each particle and handed to the network,
which says how near to it the particle is:

- were all of those left alike, they would have the mean pT and eta of what is missing: centres of
  laws of the score and of the place;
- Q misses q, and all others together can add at most the pT r that they have: a particle of pT p is
  where (p^2 + q^2 - r^2) / 2 p q is at most the cosine of twice the angle to q. Its bounds, either
  side of q's direction and opposite, are centres of laws in phi;
- momentum across the beam is balanced in a collision, though not inside a selection: what the
  particles that are there leave to balance leans the law of phi, by an amount that is learnt;
- eta has to leave to each of the others one inside the selection: places beyond that are none.
"""

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from hitools.core.nets.hard_laws import ONE_TURN, Places, rank_of_score
from hitools.core.nets.layers import Dense
from hitools.core.nets.mixtures import LOG_WIDTHS, NormalMixture
from hitools.core.nets.particle_lists import (
    CELL_HARMONICS,
    HIGHEST,
    N_SCORE_PARTS,
    Before,
    Inputs,
    ListBranch,
)
from hitools.core.representation.aligned import Aligned

N_EXPECTED: Final = 3
"""Of the parts of the law of a score, those that are counted from the mean pT of those left."""

SIDES: Final = ((1, 0.0), (-1, 0.0), (1, math.pi), (-1, math.pi))
"""Of the bounds of phi: on which side of q's direction, or of the opposite one."""

FREE_WIDTHS: Final = (0.5, 0.1)
"""To begin with, of the two parts at each of the bounds: in the score of eta and in phi."""

LEAST_WIDTH: Final = 0.02
"""Of all laws: narrower ones would meet the sums to less than matters, and rule the training."""

N_FREE: Final = len(SIDES) * len(FREE_WIDTHS)

N_TOLD: Final = 20
"""Columns of _Missing.columns."""

N_OF_SCORE: Final = 2
N_OF_PLACE: Final = 7

FARTHEST: Final = 6.0
"""Of scores and places that the network is told."""

LEAN_FROM: Final = 2.0
"""Score from which leans are counted."""

SLACK: Final = 0.005
"""In eta: rounding leaves no less to the others."""

_LEAST_WINDOW: Final = 1e-3
"""In the score of eta."""

_TINY: Final = 1e-6
_LEAST_PT: Final = 1e-3
"""In units of pt_unit, where a logarithm is taken."""


class WholeBranch(ListBranch):
    """The likelihood of all particles of small events, and how they are drawn."""

    most_partners = 1_000_000
    log_widths = (math.log(LEAST_WIDTH), LOG_WIDTHS[1])
    log_phi_widths = (math.log(LEAST_WIDTH), math.log(ONE_TURN))

    def __init__(self, representation: Aligned, n_known: int, n_sums: int, width: int) -> None:
        """What particles and their sums mean, numbers known of an event, its sums, channels."""
        inputs = Inputs(
            begin=N_TOLD, hear=N_TOLD, score=N_TOLD + N_OF_SCORE, place=N_TOLD + N_OF_PLACE
        )
        super().__init__(n_known, n_sums, width, -math.inf, width // 2, inputs)
        self.representation = representation
        self.place_second = Dense(width, width)
        self.recoil_out = Dense(width, 1)
        self.free_out = Dense(width, 5 * N_FREE)
        self.free_out.weight.data.mul_(0.1)
        with torch.no_grad():
            nn.init.zeros_(self.recoil_out.weight)
            nn.init.zeros_(self.recoil_out.bias)
            nn.init.zeros_(self.free_out.bias)
            free = self.free_out.bias.view(len(SIDES), len(FREE_WIDTHS), 5)
            free[..., 0] = -3.0
            free[..., 2] = free[..., 4] = torch.tensor(FREE_WIDTHS).log()

    def _told(self, missing: Tensor) -> list[Tensor]:
        return [_Missing.of(self.representation, missing).columns]

    def _score_law(self, before: Before) -> NormalMixture:
        missing = _Missing.of(self.representation, before.missing)
        # The hardest of those left is at least as hard as their mean.
        least = torch.minimum(missing.pt_score, before.above.clamp(max=HIGHEST) - 1e-3)
        place, _ = rank_of_score(least, before.above, before.left.clamp(min=1))
        place = place.clamp(-FARTHEST, FARTHEST).to(before.state.dtype)
        above = before.above.clamp(max=FARTHEST)
        inputs = [before.state, missing.columns, place[:, None], above[:, None]]
        said = self.score_out(functional.silu(self.score_hidden(torch.cat(inputs, dim=1))))
        shift = functional.pad(
            place[:, None, None].expand(-1, N_EXPECTED, 1), (1, 1, 0, N_SCORE_PARTS - N_EXPECTED)
        )
        return NormalMixture.of(said + shift.flatten(1), self.log_widths)

    def _place_law(
        self, before: Before, scores: Tensor, partners: Tensor, exists: Tensor
    ) -> Places:
        missing = _Missing.of(self.representation, before.missing)
        pt = self._pt(scores)
        rest = torch.where(missing.n > 1, (missing.sum_pt - pt).clamp(min=0), 0.0)
        product = (2 * pt * missing.q).clamp(min=_TINY)
        cosine = ((pt.square() + missing.q.square() - rest.square()) / product).clamp(-1, 1)
        bound = torch.acos(cosine.clamp(-1 + _TINY, 1 - _TINY)) / 2
        lean = self.lean(scores, before.missing, LEAN_FROM)
        recoil = missing.recoil(pt)
        of_pt = [
            cosine,
            bound,
            pt.clamp(min=_LEAST_PT).log(),
            (rest + _LEAST_PT).log(),
            (pt / missing.sum_pt.clamp(min=_LEAST_PT)).clamp(max=2),
        ]
        inputs = [
            before.state,
            scores[:, None],
            lean,
            missing.columns,
            torch.stack(of_pt, dim=1),
            recoil,
        ]
        said = functional.silu(self.place_hidden(torch.cat(inputs, dim=1)))
        said = said + functional.silu(self.place_second(said))
        recoiling = functional.pad(self.recoil_out(said) * recoil, (1, 2 * CELL_HARMONICS - 2))
        return self._mixture(
            said,
            self.leaning_to(lean) + recoiling,
            partners,
            exists,
            free=self._free(said, missing, bound),
            window=self._window(missing),
        )

    def _pt(self, scores: Tensor) -> Tensor:
        pt = self.representation.pt.decode(scores.clamp(-FARTHEST, FARTHEST + 1)).exp()
        return pt / self.representation.slices.pt_unit

    def _free(self, said: Tensor, missing: "_Missing", bound: Tensor) -> Tensor:
        """(n, N_FREE, 5) parts where those left would go; see ListBranch._mixture."""
        logit, eta, log_eta_width, phi, log_phi_width = (
            self.free_out(said).unflatten(1, (N_FREE, 5)).unbind(2)
        )
        side, back = said.new_tensor(SIDES).repeat_interleave(len(FREE_WIDTHS), dim=0).T
        centre = missing.psi[:, None] + side * bound[:, None] + back
        parts = [
            logit,
            missing.eta_score[:, None] + eta,
            log_eta_width,
            centre + math.pi * phi.tanh(),
            log_phi_width,
        ]
        return torch.stack(parts, dim=2)

    def _window(self, missing: "_Missing") -> tuple[Tensor, Tensor]:
        """(n,) lowest and highest score of eta that leave the others inside the selection."""
        most = self.representation.eta_max
        others = most * (missing.n - 1) + SLACK
        alone = missing.n <= 1
        low = torch.where(alone, -most, (missing.sum_eta - others).clamp(-most, most))
        high = torch.where(alone, most, (missing.sum_eta + others).clamp(-most, most))
        low, high = (self.representation.eta.encode(edge) for edge in (low, high))
        return torch.minimum(low, high - _LEAST_WINDOW), high


@dataclass(frozen=True)
class _Missing:
    """What the sums of an event miss when so many of its particles are there.

    Attributes:
        n: (n,) particles, this one included.
        sum_pt: (n,) in pt_unit, as q.
        q: (n,) length of Q.
        psi: (n,) half of its direction.
        sum_eta: (n,).
        balance: (n, 2) momentum across the beam that those left would have if all added up to 0.
        pt_score: (n,) of the mean pT of the particles left.
        eta_score: (n,) of their mean eta.
        columns: (n, N_TOLD) for the network.
    """

    n: Tensor
    sum_pt: Tensor
    q: Tensor
    psi: Tensor
    sum_eta: Tensor
    balance: Tensor
    pt_score: Tensor
    eta_score: Tensor
    columns: Tensor

    def recoil(self, pt: Tensor) -> Tensor:
        """(n, 2) how a particle of this pT, (n,), leans to balance: shorter than 1."""
        share = self.balance * (pt / self.n.clamp(min=1))[:, None]
        return share / (1 + share.norm(dim=1, keepdim=True))

    @classmethod
    def of(cls, representation: Aligned, missing: Tensor) -> "_Missing":
        """From (n, N_TURNING)."""
        sums = representation.plain_sums(missing.float())
        n, sum_pt, q_x, q_y, sum_eta, *momentum = sums.unbind(1)
        balance = torch.stack(momentum, dim=1)
        length = balance.norm(dim=1)
        direction = balance / length.clamp(min=_TINY)[:, None]
        n = n.round().clamp(min=0)
        some = n.clamp(min=1)
        mean_pt = (sum_pt / some * representation.slices.pt_unit).clamp(min=_LEAST_PT)
        pt_score = representation.pt.encode(mean_pt.log()).clamp(-FARTHEST, FARTHEST)
        most = representation.eta_max
        eta = sum_eta / some
        eta_score = representation.eta.encode(eta.clamp(-most, most)).clamp(-FARTHEST, FARTHEST)
        q = torch.hypot(q_x, q_y)
        psi = torch.atan2(q_y, q_x) / 2
        columns = [
            n.log1p(),
            1 / some,
            (n == 1).to(n.dtype),
            (n == 2).to(n.dtype),
            pt_score,
            eta_score,
            eta / most,
            (q / some.sqrt()).asinh(),
            (q / sum_pt.clamp(min=_LEAST_PT)).clamp(max=3),
            psi.cos(),
            psi.sin(),
            q.clamp(min=_LEAST_PT).log(),
            q_x / some,
            q_y / some,
            (length / some.sqrt()).asinh(),
            (length / sum_pt.clamp(min=_LEAST_PT)).clamp(max=3),
            *direction.unbind(1),
            *(balance / some.sqrt()[:, None]).asinh().unbind(1),
        ]
        told = torch.stack(columns, dim=1)
        return cls(n, sum_pt, q, psi, sum_eta, balance, pt_score, eta_score, told)
