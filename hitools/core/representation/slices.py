"""What an event looks like from afar: sums over its particles in slices of eta.

Between the event vector and the single particles lies a coarse picture: how many particles each
slice of eta holds, their pT, how hard they are, and their first harmonics in phi, weighted by each
of these. These few numbers are nearly normal and quickly learnt; particles that are made to add up
to them have the correlations between slices (flow, momentum balance) of real events, and only what
happens inside a slice is left to the particles. Hard particles, which would make the tails of these
numbers, are not among them where they are drawn before (nets/hard_branch.py).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import torch
from torch import Tensor

from hitools.core.errors import InputError
from hitools.core.representation.quantiles import QuantileMap, QuantileMaps

N_SLICES: Final = 5
"""Of equal probability: one unit of eta each where particles are even in |eta| < 2.5."""

WEIGHTS: Final = ("n", "pt")
"""Of a particle in a sum: 1, and its pT."""

N_WEIGHTS: Final = len(WEIGHTS)

Q_HARMONIC: Final = 2
"""Q of the event is the sum of pT in this harmonic."""

MOST_HARMONICS: Final = 6
"""The regression takes means of products of two over 16 angles, which fold higher ones."""

_TYPICAL: Final = (0.4, 0.4)
"""What a particle contributes to a sum of each of WEIGHTS in a slice."""

_LEAST: Final = 0.5
"""Added to the particles of a slice, so that an empty one has a scale too."""


@dataclass(frozen=True)
class SliceSums:
    """Which sums are taken over the particles of a slice.

    Attributes:
        harmonics: of n and of pt, how many harmonics in phi.
    """

    harmonics: tuple[int, ...] = (3, 2)

    def __post_init__(self) -> None:
        """Refuse what no regression can live on: Q of the event has to be among the sums."""
        right = len(self.harmonics) == N_WEIGHTS and min(self.harmonics) >= 1
        if not right or self.harmonics[1] < Q_HARMONIC or max(self.harmonics) > MOST_HARMONICS:
            given = ",".join(map(str, self.harmonics))
            raise InputError(
                f"slices: harmonics {given}, expected two numbers from 1 to {MOST_HARMONICS}, "
                f"the second {Q_HARMONIC} at least"
            )

    @property
    def n_waves(self) -> int:
        """1, and cos and sin of each harmonic."""
        return 1 + 2 * max(self.harmonics)

    @cached_property
    def vectors(self) -> tuple[tuple[str, int], ...]:
        """Weight and harmonic of the sums that have a direction; each takes two columns."""
        pairs = zip(WEIGHTS, self.harmonics, strict=True)
        return tuple((weight, k) for weight, most in pairs for k in range(1, most + 1))

    @property
    def q_vector(self) -> int:
        """Which of vectors is Q of the event, part by part."""
        return self.vectors.index(("pt", Q_HARMONIC))

    @property
    def q_column(self) -> int:
        """The first of its two columns among names."""
        return N_WEIGHTS + 2 * self.q_vector

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of all sums: of the weights, and of their products with waves of phi - psi_2."""
        directed = (f"{weight}_{wave}_{k}" for weight, k in self.vectors for wave in ("cos", "sin"))
        return (*WEIGHTS, *directed)

    @property
    def n_features(self) -> int:
        """Sums of all slices."""
        return N_SLICES * len(self.names)

    @cached_property
    def factors(self) -> tuple[tuple[int, int], ...]:
        """Of each sum: which of weights and which of waves."""
        directed = ((WEIGHTS.index(weight), 2 * k - 1) for weight, k in self.vectors)
        return (
            *((weight, 0) for weight in range(N_WEIGHTS)),
            *((weight, wave + part) for weight, wave in directed for part in (0, 1)),
        )

    @cached_property
    def scales(self) -> tuple[float, ...]:
        """A typical contribution of a particle to each sum."""
        return tuple(
            _TYPICAL[weight] / (math.sqrt(2) if wave else 1) for weight, wave in self.factors
        )

    def waves(self, phi: Tensor) -> Tensor:
        """(n, n_waves, ...) of (n, ...) azimuths: 1, and cos and sin of k phi for each k."""
        turns = [k * phi for k in range(1, max(self.harmonics) + 1)]
        directed = [wave for turn in turns for wave in (turn.cos(), turn.sin())]
        return torch.stack([torch.ones_like(phi), *directed], dim=1)

    def weights(self, pt: Tensor) -> Tensor:
        """(n, N_WEIGHTS, ...) of particles with (n, ...) pT in units of pt_unit."""
        return torch.stack([torch.ones_like(pt), pt], dim=1)

    def of_particles(self, eta_score: Tensor, pt: Tensor, phi: Tensor, offsets: Tensor) -> Tensor:
        """The coarse picture of events, (n_events, N_SLICES, len(names)).

        Args:
            eta_score: (n_total,) normal score of eta.
            pt: (n_total,) pT in units of pt_unit.
            phi: (n_total,) azimuth from psi_2.
            offsets: (n_events + 1,) int64.
        """
        counts = offsets.diff().to(pt.device)
        event = torch.repeat_interleave(counts, output_size=len(pt))
        waves, weights = self.waves(phi), self.weights(pt)
        what = torch.stack([weights[:, i] * waves[:, k] for i, k in self.factors], dim=1)
        each = shares(eta_score)[:, :, None] * what[:, None]
        return each.new_zeros(len(counts), *each.shape[1:]).index_add(0, event, each)

    def split(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        """(n, slices, names) to (n, slices, N_WEIGHTS) and vectors (n, slices, n_vectors, 2)."""
        vectors = columns[:, :, N_WEIGHTS:]
        return columns[:, :, :N_WEIGHTS], vectors.unflatten(2, (len(self.vectors), 2))


@dataclass(frozen=True)
class Slices:
    """Maps between the sums in slices and scores of order one.

    Attributes:
        sums: which there are.
        scalars: maps of those without a direction in each slice.
        lengths: of the lengths of the vectors in each slice.
        pt_unit: of all sums of pT, in GeV/c.
    """

    sums: SliceSums
    scalars: QuantileMaps
    lengths: QuantileMaps
    pt_unit: float

    @classmethod
    def fit(cls, sums: SliceSums, values: Tensor, pt_unit: float) -> "Slices":
        """Measure the maps.

        Args:
            sums: which there are.
            values: (n_events, N_SLICES, len(sums.names)) of events that hold particles; see
                SliceSums.of_particles.
            pt_unit: the unit of pT in them, in GeV/c.
        """
        scalars, vectors = sums.split(_from_sums(sums, values))
        lengths = vectors.norm(dim=3)
        return cls(
            sums,
            QuantileMaps(tuple(QuantileMap.fit(c.numpy()) for c in scalars.flatten(1).T)),
            QuantileMaps(
                tuple(QuantileMap.fit(c.numpy(), "rayleigh") for c in lengths.flatten(1).T)
            ),
            pt_unit,
        )

    def encode(self, eta_score: Tensor, pt: Tensor, phi: Tensor, offsets: Tensor) -> Tensor:
        """Scores of events from their particles, (n_events, sums.n_features).

        Args:
            eta_score: (n_total,) normal score of each particle's eta.
            pt: (n_total,) in GeV/c.
            phi: (n_total,) azimuth from psi_2.
            offsets: (n_events + 1,) int64.
        """
        values = self.sums.of_particles(eta_score, pt / self.pt_unit, phi, offsets)
        scalars, vectors = self.sums.split(_from_sums(self.sums, values))
        scores = self.scalars.encode(scalars.flatten(1)).view_as(scalars)
        return _joined(scores, _stretched(vectors, self.lengths.encode)).flatten(1)

    def decode(self, scores: Tensor, n_particles: Tensor, sum_pt: Tensor, q: Tensor) -> Tensor:
        """Sums in slices, (n_events, N_SLICES, len(sums.names)), that agree with those of events.

        What the slices add up to is made the event's: n_particles and sum pT by a common factor, Q
        by shares in proportion to the particles.

        Args:
            scores: (n_events, sums.n_features).
            n_particles: (n_events,) particles of each event.
            sum_pt: (n_events,) in units of pt_unit.
            q: (n_events, 2) Q along psi_2 and across, in the same.
        """
        n, total = n_particles[:, None], sum_pt[:, None]
        mean = total / n.clamp(min=1)
        scalars, vectors = self.sums.split(scores.reshape(-1, N_SLICES, len(self.sums.names)))
        scalars = self.scalars.decode(scalars.flatten(1)).view_as(scalars)
        vectors = _stretched(vectors, self.lengths.decode)
        expected = n / N_SLICES
        counts = _adding_up_to(n, expected + scalars[:, :, 0] * expected.sqrt())
        root = (counts + _LEAST).sqrt()
        in_slices = _adding_up_to(total, counts * mean + scalars[:, :, 1] * root)
        vectors = vectors * root[:, :, None, None]
        gap = q - vectors[:, :, self.sums.q_vector].sum(1)
        share = (counts / n.clamp(min=1))[:, :, None]
        vectors[:, :, self.sums.q_vector] += share * gap[:, None]
        return _joined(torch.stack([counts, in_slices], dim=2), vectors)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON: the maps slice by slice."""
        scalars, lengths = (
            [one.to_dict() for one in maps.maps] for maps in (self.scalars, self.lengths)
        )
        n, m = N_WEIGHTS, len(self.sums.vectors)
        maps = [
            scalars[s * n : (s + 1) * n] + lengths[s * m : (s + 1) * m] for s in range(N_SLICES)
        ]
        return {"harmonics": list(self.sums.harmonics), "maps": maps, "pt_unit": self.pt_unit}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Slices":
        """The inverse of to_dict."""
        sums = SliceSums(tuple(values.get("harmonics", (2, 2))))
        maps = [[QuantileMap.from_dict(one) for one in of_slice] for of_slice in values["maps"]]
        n = N_WEIGHTS
        return cls(
            sums,
            QuantileMaps(tuple(one for of_slice in maps for one in of_slice[:n])),
            QuantileMaps(tuple(one for of_slice in maps for one in of_slice[n:])),
            float(values["pt_unit"]),
        )


def shares(eta_score: Tensor) -> Tensor:
    """(n, N_SLICES, ...) how much a particle belongs to each slice; they add up to 1.

    Quadratic B-splines around evenly spaced centres, mirrored at both ends: smooth, as particles
    that are pushed up a slope would gather where it breaks off.

    Args:
        eta_score: (n, ...) normal scores of eta.
    """
    place = N_SLICES * torch.special.ndtr(eta_score)
    centres = torch.arange(-1, N_SLICES + 1, device=place.device) + 0.5
    away = (place[:, None] - centres.view(-1, *[1] * (place.dim() - 1))).abs()
    spline = torch.where(away < 0.5, 0.75 - away.square(), (1.5 - away).clamp(min=0).square() / 2)
    beyond = torch.zeros_like(spline[:, 1:-1])
    beyond[:, 0], beyond[:, -1] = spline[:, 0], spline[:, -1]
    return spline[:, 1:-1] + beyond


def _joined(scalars: Tensor, vectors: Tensor) -> Tensor:
    """The inverse of SliceSums.split."""
    return torch.cat([scalars, vectors.flatten(2)], dim=2)


def _from_sums(sums: SliceSums, values: Tensor) -> Tensor:
    """Sums to numbers whose spread depends little on the size of the event; same shape."""
    scalars, vectors = sums.split(values)
    counts, sum_pt = scalars[:, :, 0], scalars[:, :, 1]
    n = counts.sum(1, keepdim=True)
    mean = sum_pt.sum(1, keepdim=True) / n.clamp(min=1)
    root = (counts + _LEAST).sqrt()
    expected = (n / N_SLICES).clamp(min=1e-6)
    scores = torch.stack(
        [(counts - expected) / expected.sqrt(), (sum_pt - counts * mean) / root], dim=2
    )
    return _joined(scores, vectors / root[:, :, None, None])


def _stretched(vectors: Tensor, of_length: Callable[[Tensor], Tensor]) -> Tensor:
    """(n, slices, n_vectors, 2) vectors of another length."""
    length = vectors.norm(dim=3)
    new = of_length(length.flatten(1)).view_as(length).clamp(min=0)
    return vectors * (new / length.clamp(min=1e-12))[..., None]


def _adding_up_to(total: Tensor, parts: Tensor) -> Tensor:
    """(n, slices) parts, none negative, scaled to (n, 1) totals."""
    parts = parts.clamp(min=1e-3)
    return parts * (total / parts.sum(1, keepdim=True))
