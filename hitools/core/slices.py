"""What an event looks like from afar: sums over its particles in slices of eta.

Between the event vector and the single particles lies a coarse picture: how many particles each
slice of eta holds, their pT, and their first two harmonics in phi, plain and weighted by pT. These
few numbers are nearly normal and quickly learnt; particles that are made to add up to them have the
correlations between slices (flow, momentum balance) of real events, and only what happens inside a
slice is left to the particles.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from hitools.core.quantiles import QuantileMap, QuantileMaps

N_SLICES: Final = 5
"""Of equal probability: one unit of eta each where particles are even in |eta| < 2.5."""

QUANTITIES: Final = (
    "n",
    "pt",
    "n_cos_1",
    "n_sin_1",
    "n_cos_2",
    "n_sin_2",
    "pt_cos_1",
    "pt_sin_1",
    "pt_cos_2",
    "pt_sin_2",
)
"""Sums in a slice: of 1 and of pT, and of their products with cos and sin of k (phi - psi_2)."""

N_SCALARS: Final = 2
N_VECTORS: Final = 4
"""Of the quantities; each vector takes two columns."""

Q_VECTOR: Final = 3
"""The last of the vectors: Q of the event, part by part."""

N_SLICE_FEATURES: Final = N_SLICES * len(QUANTITIES)

_LEAST: Final = 0.5
"""Added to the particles of a slice, so that an empty one has a scale too."""

FACTORS: Final = ((0, 0), (1, 0), *((weight, wave) for weight in (0, 1) for wave in range(1, 5)))
"""Of each of QUANTITIES: power of pT, and which of waves."""

SCALES: Final = tuple(0.4 / (math.sqrt(2) if wave else 1) for _, wave in FACTORS)
"""A typical contribution of a particle to each of QUANTITIES in a slice."""


@dataclass(frozen=True)
class Slices:
    """Maps between the sums in slices and scores of order one.

    Attributes:
        scalars: maps of "n" and of "pt" in each slice.
        lengths: of the lengths of the vectors in each slice.
        pt_unit: of all sums of pT, in GeV/c.
    """

    scalars: QuantileMaps
    lengths: QuantileMaps
    pt_unit: float

    @classmethod
    def fit(cls, sums: Tensor, pt_unit: float) -> "Slices":
        """Measure the maps.

        Args:
            sums: (n_events, N_SLICES, len(QUANTITIES)) of events that hold particles; see sums.
            pt_unit: the unit of pT in them, in GeV/c.
        """
        scalars, vectors = _split(_from_sums(sums))
        lengths = vectors.norm(dim=3)
        return cls(
            QuantileMaps(tuple(QuantileMap.fit(c.numpy()) for c in scalars.flatten(1).T)),
            QuantileMaps(
                tuple(QuantileMap.fit(c.numpy(), "rayleigh") for c in lengths.flatten(1).T)
            ),
            pt_unit,
        )

    def encode(self, eta_score: Tensor, pt: Tensor, phi: Tensor, offsets: Tensor) -> Tensor:
        """Scores of events from their particles, (n_events, N_SLICE_FEATURES).

        Args:
            eta_score: (n_total,) normal score of each particle's eta.
            pt: (n_total,) in GeV/c.
            phi: (n_total,) azimuth from psi_2.
            offsets: (n_events + 1,) int64.
        """
        scalars, vectors = _split(_from_sums(sums(eta_score, pt / self.pt_unit, phi, offsets)))
        scores = self.scalars.encode(scalars.flatten(1)).view_as(scalars)
        return _joined(scores, _stretched(vectors, self.lengths.encode)).flatten(1)

    def decode(self, scores: Tensor, n_particles: Tensor, mean_pt: Tensor, q: Tensor) -> Tensor:
        """Sums in slices, (n_events, N_SLICES, len(QUANTITIES)), that agree with the event vector.

        What the slices add up to is made the event vector's: n_particles and sum pT by a common
        factor, Q by shares in proportion to the particles.

        Args:
            scores: (n_events, N_SLICE_FEATURES).
            n_particles: (n_events,) particles of each event.
            mean_pt: (n_events,) in GeV/c.
            q: (n_events,) length of Q, in GeV/c.
        """
        n, mean = n_particles[:, None], mean_pt[:, None] / self.pt_unit
        scalars, vectors = _split(scores.reshape(-1, N_SLICES, len(QUANTITIES)))
        scalars = self.scalars.decode(scalars.flatten(1)).view_as(scalars)
        vectors = _stretched(vectors, self.lengths.decode)
        expected = n / N_SLICES
        counts = _adding_up_to(n, expected + scalars[:, :, 0] * expected.sqrt())
        root = (counts + _LEAST).sqrt()
        sum_pt = _adding_up_to(n * mean, counts * mean + scalars[:, :, 1] * root)
        vectors = vectors * root[:, :, None, None]
        wanted = torch.stack([q / self.pt_unit, torch.zeros_like(q)], dim=1)
        gap = wanted - vectors[:, :, Q_VECTOR].sum(1)
        share = (counts / n.clamp(min=1))[:, :, None]
        closing = vectors[:, :, Q_VECTOR] + share * gap[:, None]
        vectors = torch.cat([vectors[:, :, :Q_VECTOR], closing[:, :, None]], dim=2)
        return _joined(torch.stack([counts, sum_pt], dim=2), vectors)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON: the maps slice by slice."""
        scalars, lengths = (
            [one.to_dict() for one in maps.maps] for maps in (self.scalars, self.lengths)
        )
        maps = [
            scalars[s * N_SCALARS : (s + 1) * N_SCALARS]
            + lengths[s * N_VECTORS : (s + 1) * N_VECTORS]
            for s in range(N_SLICES)
        ]
        return {"maps": maps, "pt_unit": self.pt_unit}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Slices":
        """The inverse of to_dict."""
        maps = [[QuantileMap.from_dict(one) for one in of_slice] for of_slice in values["maps"]]
        return cls(
            QuantileMaps(tuple(one for of_slice in maps for one in of_slice[:N_SCALARS])),
            QuantileMaps(tuple(one for of_slice in maps for one in of_slice[N_SCALARS:])),
            float(values["pt_unit"]),
        )


def shares(eta_score: Tensor) -> Tensor:
    """(..., N_SLICES) how much a particle belongs to each slice; they add up to 1.

    Quadratic B-splines around evenly spaced centres, mirrored at both ends: smooth, as particles
    that are pushed up a slope would gather where it breaks off.

    Args:
        eta_score: normal scores of eta, of any shape.
    """
    place = N_SLICES * torch.special.ndtr(eta_score)
    centres = torch.arange(-1, N_SLICES + 1, device=place.device) + 0.5
    away = (place[..., None] - centres).abs()
    spline = torch.where(away < 0.5, 0.75 - away.square(), (1.5 - away).clamp(min=0).square() / 2)
    beyond = torch.zeros_like(spline[..., 1:-1])
    beyond[..., 0], beyond[..., -1] = spline[..., 0], spline[..., -1]
    return spline[..., 1:-1] + beyond


def waves(phi: Tensor) -> Tensor:
    """(..., 5): 1, and cos and sin of phi and of 2 phi."""
    angles = [torch.ones_like(phi), phi.cos(), phi.sin(), (2 * phi).cos(), (2 * phi).sin()]
    return torch.stack(angles, dim=-1)


def sums(eta_score: Tensor, pt: Tensor, phi: Tensor, offsets: Tensor) -> Tensor:
    """The coarse picture of events, (n_events, N_SLICES, len(QUANTITIES)).

    Args:
        eta_score: (n_total,) normal score of eta.
        pt: (n_total,) pT in units of pt_unit.
        phi: (n_total,) azimuth from psi_2.
        offsets: (n_events + 1,) int64.
    """
    counts = offsets.diff().to(pt.device)
    event = torch.repeat_interleave(counts, output_size=len(pt))
    plain = waves(phi)
    what = torch.stack([plain[:, wave] * pt**power for power, wave in FACTORS], dim=1)
    each = shares(eta_score)[:, :, None] * what[:, None]
    return each.new_zeros(len(counts), *each.shape[1:]).index_add(0, event, each)


def _split(columns: Tensor) -> tuple[Tensor, Tensor]:
    """(n, slices, quantities) to scalars (n, slices, 2) and vectors (n, slices, 4, 2)."""
    return columns[:, :, :N_SCALARS], columns[:, :, N_SCALARS:].unflatten(2, (N_VECTORS, 2))


def _joined(scalars: Tensor, vectors: Tensor) -> Tensor:
    """The inverse of _split."""
    return torch.cat([scalars, vectors.flatten(2)], dim=2)


def _from_sums(sums: Tensor) -> Tensor:
    """Sums to numbers whose spread depends little on the size of the event; same shape."""
    (counts, sum_pt), vectors = _split(sums)[0].unbind(2), _split(sums)[1]
    n = counts.sum(1, keepdim=True)
    mean = sum_pt.sum(1, keepdim=True) / n.clamp(min=1)
    root = (counts + _LEAST).sqrt()
    expected = (n / N_SLICES).clamp(min=1e-6)
    scalars = [(counts - expected) / expected.sqrt(), (sum_pt - counts * mean) / root]
    return _joined(torch.stack(scalars, dim=2), vectors / root[:, :, None, None])


def _stretched(vectors: Tensor, of_length: Callable[[Tensor], Tensor]) -> Tensor:
    """(n, slices, 4, 2) vectors of another length."""
    length = vectors.norm(dim=3)
    new = of_length(length.flatten(1)).view_as(length).clamp(min=0)
    return vectors * (new / length.clamp(min=1e-12))[..., None]


def _adding_up_to(total: Tensor, parts: Tensor) -> Tensor:
    """(n, slices) parts, none negative, scaled to (n, 1) totals."""
    parts = parts.clamp(min=1e-3)
    return parts * (total / parts.sum(1, keepdim=True))
