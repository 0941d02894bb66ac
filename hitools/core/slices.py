"""What an event looks like from afar: sums over its particles in slices of eta.

Between the event vector and the single particles lies a coarse picture: how many particles each
slice of eta holds, their pT, and their first two harmonics in phi, plain and weighted by pT. These
few numbers are nearly normal and quickly learnt; particles that are made to add up to them have the
correlations between slices (flow, momentum balance) of real events, and only what happens inside a
slice is left to the particles.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from hitools.core.quantiles import QuantileMap

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

VECTORS: Final = tuple(range(2, len(QUANTITIES), 2))
"""First of the two columns of each vector."""

PT_2: Final = QUANTITIES.index("pt_cos_2")

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
        maps: for each slice one for "n", one for "pt", and one for the length of each vector.
        pt_unit: of all sums of pT, in GeV/c.
    """

    maps: tuple[tuple[QuantileMap, ...], ...]
    pt_unit: float

    @classmethod
    def fit(cls, sums: Tensor, pt_unit: float) -> "Slices":
        """Measure the maps.

        Args:
            sums: (n_events, N_SLICES, len(QUANTITIES)) of events that hold particles; see sums.
            pt_unit: the unit of pT in them, in GeV/c.
        """
        quantities = _from_sums(sums)
        lengths = quantities[:, :, VECTORS[0] :].unflatten(2, (-1, 2)).norm(dim=3)
        return cls(
            tuple(
                tuple(
                    QuantileMap.fit(quantities[:, s, k].numpy(), "normal")
                    if k not in VECTORS
                    else QuantileMap.fit(lengths[:, s, VECTORS.index(k)].numpy(), "rayleigh")
                    for k in (0, 1, *VECTORS)
                )
                for s in range(N_SLICES)
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
        quantities = _from_sums(sums(eta_score, pt / self.pt_unit, phi, offsets))
        columns = []
        for s, maps in enumerate(self.maps):
            here = quantities[:, s]
            columns += [maps[k].encode(here[:, k])[:, None] for k in range(VECTORS[0])]
            for k, of_length in zip(VECTORS, maps[VECTORS[0] :], strict=True):
                columns.append(_stretched(here[:, k : k + 2], of_length.encode))
        return torch.cat(columns, dim=1)

    def decode(self, scores: Tensor, n_particles: Tensor, mean_pt: Tensor, q: Tensor) -> Tensor:
        """Sums in slices, (n_events, N_SLICES, len(QUANTITIES)), that agree with the event vector.

        The last digits of what the slices add up to are the event vector's: n_particles and sum pT
        by a common factor, Q by shares in proportion to the particles.

        Args:
            scores: (n_events, N_SLICE_FEATURES).
            n_particles: (n_events,) particles of each event.
            mean_pt: (n_events,) in GeV/c.
            q: (n_events,) length of Q, in GeV/c.
        """
        n, mean = n_particles[:, None], mean_pt[:, None] / self.pt_unit
        columns = scores.view(len(scores), N_SLICES, len(QUANTITIES))
        values = []
        for s, maps in enumerate(self.maps):
            here = columns[:, s]
            parts = [maps[k].decode(here[:, k])[:, None] for k in range(VECTORS[0])]
            for k, of_length in zip(VECTORS, maps[VECTORS[0] :], strict=True):
                parts.append(_stretched(here[:, k : k + 2], of_length.decode))
            values.append(torch.cat(parts, dim=1))
        quantities = torch.stack(values, dim=1)
        expected = n / N_SLICES
        counts = _adding_up_to(n, expected + quantities[:, :, 0] * expected.sqrt())
        root = (counts + _LEAST).sqrt()
        sum_pt = _adding_up_to(n * mean, counts * mean + quantities[:, :, 1] * root)
        vectors = quantities[:, :, VECTORS[0] :] * root[:, :, None]
        share = (counts / n.clamp(min=1))[:, :, None]
        wanted = torch.stack([q / self.pt_unit, torch.zeros_like(q)], dim=1)[:, None]
        at = PT_2 - VECTORS[0]
        weighted = vectors[:, :, at : at + 2]
        vectors[:, :, at : at + 2] = weighted + share * (wanted - weighted.sum(1, keepdim=True))
        return torch.cat([counts[:, :, None], sum_pt[:, :, None], vectors], dim=2)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        maps = [[one.to_dict() for one in of_slice] for of_slice in self.maps]
        return {"maps": maps, "pt_unit": self.pt_unit}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Slices":
        """The inverse of to_dict."""
        return cls(
            tuple(tuple(map(QuantileMap.from_dict, of_slice)) for of_slice in values["maps"]),
            float(values["pt_unit"]),
        )


def shares(eta_score: Tensor) -> Tensor:
    """(..., N_SLICES) how much a particle belongs to each slice; they add up to 1.

    Slices are triangles around evenly spaced centres, so that nothing jumps at a border.

    Args:
        eta_score: normal scores of eta, of any shape.
    """
    place = N_SLICES * torch.special.ndtr(eta_score) - 0.5
    centres = torch.arange(N_SLICES, device=place.device)
    inside = place.clamp(0, N_SLICES - 1)[..., None]
    return (1 - (inside - centres).abs()).clamp(min=0)


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


def _from_sums(sums: Tensor) -> Tensor:
    """Sums to numbers whose spread depends little on the size of the event; same shape."""
    counts, sum_pt = sums[:, :, 0], sums[:, :, 1]
    n = counts.sum(1, keepdim=True)
    mean = sum_pt.sum(1, keepdim=True) / n.clamp(min=1)
    root = (counts + _LEAST).sqrt()
    expected = (n / N_SLICES).clamp(min=1e-6)
    return torch.cat(
        [
            ((counts - expected) / expected.sqrt())[:, :, None],
            ((sum_pt - counts * mean) / root)[:, :, None],
            sums[:, :, VECTORS[0] :] / root[:, :, None],
        ],
        dim=2,
    )


def _stretched(vectors: Tensor, of_length: Any) -> Tensor:
    """(n, 2) vectors of another length."""
    length = vectors.norm(dim=1)
    return vectors * (of_length(length).clamp(min=0) / length.clamp(min=1e-12))[:, None]


def _adding_up_to(total: Tensor, parts: Tensor) -> Tensor:
    """(n, slices) parts, none negative, scaled to (n, 1) totals."""
    parts = parts.clamp(min=1e-3)
    return parts * (total / parts.sum(1, keepdim=True))
