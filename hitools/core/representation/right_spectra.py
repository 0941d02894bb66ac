"""Spectra of what a trained network hands out, set right: maps between scores, by size of events.

Events of different sizes are sampled in different ways (sampling.py), and what a network does wrong
differs between them: each class of sizes has its maps, as far as there are particles to measure
them with.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, Self

import numpy as np
import torch
from torch import Tensor

from hitools.core.features import SMALL, FloatArray, IntArray
from hitools.core.representation.quantiles import N_KNOTS, QuantileMap

LEAST_IN_CLASS: Final = 200_000
"""Particles, generated and real ones each: their mean score has an error of 0.003, and what differs
between classes is about as much (docs/ablation.md)."""

BORDERS: Final = tuple(SMALL >> k for k in range(6, 0, -1)) + tuple(SMALL << k for k in range(8))
"""Particles of the smallest events of each class but the first, where there are enough of all."""

_KNOTS_PER_ROOT: Final = (0.32, 1.13)
"""Knots of the maps of pT and eta over the cube root of the number of particles. With more of them
maps hand on the noise of these particles; with fewer they miss what is wrong, which in eta has the
slices' waves (docs/ablation.md)."""

_FEWEST_KNOTS: Final = 21


@dataclass(frozen=True)
class SoftScores:
    """Scores of the particles that a network denoises.

    Attributes:
        values: (n, 2) of pT and eta.
        n_particles: (n,) of the event of each, hard ones included.
    """

    values: FloatArray
    n_particles: IntArray

    def __len__(self) -> int:
        """Number of particles."""
        return len(self.values)

    @classmethod
    def joined(cls, parts: Iterable["SoftScores"]) -> "SoftScores":
        """Of several batches, at least one."""
        pairs = [(one.values, one.n_particles) for one in parts]
        return cls(*map(np.concatenate, zip(*pairs, strict=True)))

    def between(self, low: float, high: float) -> "SoftScores":
        """Of events of low particles or more, and fewer than high."""
        some = (self.n_particles >= low) & (self.n_particles < high)
        return SoftScores(self.values[some], self.n_particles[some])


@dataclass(frozen=True)
class Correction:
    """A map from the scores that are handed out to those that real particles have.

    Attributes:
        generated: from scores as they are handed out to normal ones.
        wanted: from scores of real particles to normal ones.
    """

    generated: QuantileMap
    wanted: QuantileMap

    @classmethod
    def fit(cls, generated: FloatArray, wanted: FloatArray, knots_per_root: float) -> Self:
        """From (n,) scores that are handed out and (m,) of real particles."""
        root = float(np.cbrt(min(len(generated), len(wanted))))
        n_knots = int(np.clip(knots_per_root * root, _FEWEST_KNOTS, N_KNOTS))
        return cls(*(QuantileMap.fit(one, n_knots=n_knots) for one in (generated, wanted)))

    def apply(self, scores: Tensor) -> Tensor:
        """Scores set right, of any shape."""
        return self.wanted.decode(self.generated.encode(scores))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {"generated": self.generated.to_dict(), "wanted": self.wanted.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of to_dict."""
        return cls(*(QuantileMap.from_dict(values[name]) for name in ("generated", "wanted")))


@dataclass(frozen=True)
class RightSpectra:
    """Corrections of the scores of pT and eta.

    Attributes:
        borders: particles of the smallest events of each class but the first, increasing.
        of_classes: of each class, the corrections of pT and eta.
    """

    borders: tuple[int, ...]
    of_classes: tuple[tuple[Correction, ...], ...]
    _tensors: dict[torch.device, Tensor] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def fit(cls, generated: SoftScores, wanted: SoftScores) -> Self:
        """From particles that are generated and real ones; some of each."""
        borders: list[int] = []
        for border in BORDERS:
            ranges = (borders[-1] if borders else 0, border), (border, np.inf)
            parts = [one.between(*some) for one in (generated, wanted) for some in ranges]
            if min(map(len, parts)) >= LEAST_IN_CLASS:
                borders.append(border)
        of_classes = []
        for some in pairwise([0, *borders, np.inf]):
            columns = generated.between(*some).values.T, wanted.between(*some).values.T
            fits = map(Correction.fit, *columns, _KNOTS_PER_ROOT)
            of_classes.append(tuple(fits))
        return cls(tuple(borders), tuple(of_classes))

    def apply(self, scores: Tensor, n_particles: Tensor) -> Tensor:
        """(n, 2) scores set right.

        Args:
            scores: (n, 2) of pT and eta, as the network hands them out.
            n_particles: (n,) of the event of each.
        """
        device = scores.device
        if device not in self._tensors:
            self._tensors[device] = torch.tensor(self.borders, device=device)
        which = torch.searchsorted(self._tensors[device], n_particles.contiguous(), right=True)
        found = torch.empty_like(scores)
        for k, corrections in enumerate(self.of_classes):
            rows = (which == k).nonzero()[:, 0]
            columns = scores[rows].unbind(1)
            right = [one.apply(here) for one, here in zip(corrections, columns, strict=True)]
            found[rows] = torch.stack(right, dim=1)
        return found

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        of_classes = [[one.to_dict() for one in of_class] for of_class in self.of_classes]
        return {"borders": list(self.borders), "of_classes": of_classes}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of to_dict."""
        return cls(
            tuple(map(int, values["borders"])),
            tuple(tuple(map(Correction.from_dict, one)) for one in values["of_classes"]),
        )
