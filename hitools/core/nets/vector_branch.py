"""Event vectors by their likelihood: one number after the other, each given those before it.

    p(event vector) = product over k of p(number k | those before it)

One hard particle makes an event extreme in mean pT, |Q| and mean eta at once. That is rare, and the
squared error of a velocity does not notice it; a likelihood does (docs/ablation.md). Each law is a
mixture of normal laws that a small network says. A count has the probability of all scores that
round to it, so that n_part = 2 can go with n_coll = 1 alone: a density of scores would have to end
where the next count begins. Q has no direction that is special: its length takes part as a normal
score, its angle is even; mean phi alone knows of it, by its seam.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from hitools.core.nets.layers import Dense
from hitools.core.nets.mixtures import LOG_ROOT, NormalMixture
from hitools.core.representation.event_scores import EVENT_SCORES
from hitools.core.representation.quantiles import QuantileMap

ORDER: Final = ("n_particles", "n_part", "n_coll", "b", "mean_pt", "length", "mean_eta", "mean_phi")
"""In which numbers are drawn; length is that of Q."""

N_TURNS: Final = 2
"""Multiples of the angle of Q that mean phi is told, as cos and sin."""

N_NOISE: Final = 2 * len(ORDER) + 1
"""Normal numbers that an event vector is drawn from."""

FIRST_SPREAD: Final = 0.5
"""Means of the parts lie within, to begin with; together they are nearly a normal law."""

SHARES: Final = (1e-300, 1 - 1e-15)
"""Of a normal law that are told from none and from all."""

_COLUMN: Final = {name: EVENT_SCORES.index(name) for name in EVENT_SCORES}


@dataclass(frozen=True)
class Counts:
    """Whole numbers, and the scores that round to each.

    Attributes:
        scores: map of counts, spread over the intervals that round to them, to scores.
        lowest: there is; all scores below are its own.
        highest: likewise.
    """

    scores: QuantileMap
    lowest: float
    highest: float

    def middle(self, scores: Tensor) -> Tensor:
        """(n,) scores to those of their counts."""
        return self.scores.encode(self._of(scores))

    def edges(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """(n,) scores to the lowest and highest ones that have the same count."""
        counts = self._of(scores)
        low, high = (self.scores.encode(counts + half) for half in (-0.5, 0.5))
        low = low.masked_fill(counts <= self.lowest, -math.inf)
        return low, high.masked_fill(counts >= self.highest, math.inf)

    def _of(self, scores: Tensor) -> Tensor:
        return self.scores.decode(scores).round().clamp(self.lowest, self.highest)


class VectorBranch(nn.Module):
    """The likelihood of event vectors, and how they are drawn."""

    def __init__(self, width: int, n_parts: int, counts: Mapping[str, Counts]) -> None:
        """Channels of the networks, parts of each mixture, and which of ORDER are counts."""
        super().__init__()
        self._counts = [counts.get(name) for name in ORDER]
        more = [2 * N_TURNS if name == "mean_phi" else 0 for name in ORDER]
        self.laws = nn.ModuleList(_Law(k + n, width, n_parts) for k, n in enumerate(more))

    def log_likelihood(self, scores: Tensor) -> Tensor:
        """(n_events,) logarithm of the density of (n_events, 9) EVENT_SCORES.

        Of counts, the probability: their scores may be any that round to them.
        """
        along, across = (scores[:, _COLUMN[name]] for name in ("q_along", "q_across"))
        angle, half_square = torch.atan2(across, along), (along.square() + across.square()) / 2
        longer = (-half_square.double()).exp().clamp(*SHARES)  # with this probability
        length = -torch.special.ndtri(longer).to(scores.dtype)
        # Where length is normal, Q is a normal number in two dimensions.
        total = length.square() / 2 - half_square - LOG_ROOT
        numbers = scores[:, :0]
        for name, law, counts in zip(ORDER, self.laws, self._counts, strict=True):
            number = length if name == "length" else scores[:, _COLUMN[name]]
            said = law(_given(numbers, angle, name))
            if counts is None:
                total = total + said.log_density(number)
            else:
                total = total + said.log_between(*counts.edges(number))
                number = counts.middle(number)
            numbers = torch.cat([numbers, number[:, None]], dim=1)
        return total

    @torch.no_grad()
    def drawn(self, noise: Tensor) -> Tensor:
        """(n_events, 9) EVENT_SCORES from (n_events, N_NOISE) normal numbers."""
        shares = torch.special.ndtr(noise)
        angle = (2 * shares[:, -1] - 1) * math.pi
        numbers = noise[:, :0]
        for k, (name, law, counts) in enumerate(zip(ORDER, self.laws, self._counts, strict=True)):
            said = law(_given(numbers, angle, name))
            number = said.drawn(shares[:, 2 * k], noise[:, 2 * k + 1])
            number = number if counts is None else counts.middle(number)
            numbers = torch.cat([numbers, number[:, None]], dim=1)
        found = dict(zip(ORDER, numbers.unbind(1), strict=True))
        size = (-2 * torch.special.log_ndtr(-found.pop("length").double())).sqrt().to(noise.dtype)
        found |= {"q_along": size * angle.cos(), "q_across": size * angle.sin()}
        return torch.stack([found[name] for name in EVENT_SCORES], dim=1)


class _Law(nn.Module):
    """The law of a number, given n_known others."""

    def __init__(self, n_known: int, width: int, n_parts: int) -> None:
        super().__init__()
        self.first = Dense(n_known + 1, width)
        self.second = Dense(width, width)
        self.out = Dense(width, 3 * n_parts)
        with torch.no_grad():
            self.out.weight.mul_(0.1)
            means = torch.linspace(-FIRST_SPREAD, FIRST_SPREAD, n_parts)
            parts = self.out.bias.view(n_parts, 3)
            parts[:, 0] = 0
            parts[:, 1] = means
            parts[:, 2] = (1 - means.square().mean()).log() / 2

    def forward(self, known: Tensor) -> NormalMixture:
        """(n_events, n_known + 1) to the law of each."""
        hidden = functional.silu(self.second(functional.silu(self.first(known))))
        return NormalMixture.of(self.out(hidden))


def _given(before: Tensor, angle: Tensor, name: str) -> Tensor:
    """(n_events, n_known + 1) what a number is drawn given: those before it, and a constant."""
    columns = [torch.ones_like(angle)[:, None], before]
    if name == "mean_phi":
        turns = angle[:, None] * torch.arange(1, N_TURNS + 1, device=angle.device)
        columns += [turns.cos(), turns.sin()]
    return torch.cat(columns, dim=1)
