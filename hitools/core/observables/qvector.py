"""Q-vectors and event planes: sums of e^{i n phi} over the particles of each event.

Everything here is complex128 and float64: fourth powers of sums over 10^4 particles reach 1e16.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from hitools.core.batch import EventBatch
from hitools.core.features import Float64Array, FloatArray, IntArray, segment_sums

ComplexArray = npt.NDArray[np.complex128]


class Phases:
    """e^{i n phi} of every particle, each harmonic computed once."""

    def __init__(self, phi: FloatArray) -> None:
        """Take (n_particles_total,) angles in radians."""
        angle = phi.astype(np.float64)
        self._powers: dict[int, ComplexArray] = {1: np.cos(angle) + 1j * np.sin(angle)}

    def __getitem__(self, n: int) -> ComplexArray:
        """(n_particles_total,) e^{i n phi}, n >= 1."""
        if n not in self._powers:
            half = n // 2
            self._powers[n] = self[half] * self[n - half]
        return self._powers[n]


def event_sums(terms: ComplexArray, offsets: IntArray) -> ComplexArray:
    """(n_events,) sums of a complex quantity over the particles of each event."""
    parts = terms.view(np.float64).reshape(-1, 2)
    return segment_sums(parts, offsets) @ np.array([1.0, 1.0j])


def cell_sums(terms: ComplexArray, cell: IntArray, n_cells: int) -> ComplexArray:
    """(n_cells,) sums of a complex quantity over the particles of each cell (event and bin)."""
    real = np.bincount(cell, terms.real, n_cells)
    return real + 1j * np.bincount(cell, terms.imag, n_cells)


@dataclass(frozen=True)
class SubEvents:
    """Which half of its event each particle belongs to, with a gap in pseudorapidity between.

    Attributes:
        side: (n_particles_total,) int8: 0 for A (eta < -gap/2), 1 for B (eta > gap/2), -1 else.
    """

    side: npt.NDArray[np.int8]

    @classmethod
    def split(cls, eta: FloatArray, gap: float) -> "SubEvents":
        """Split at eta = 0 and leave out |eta| <= gap/2 (with gap 0: eta = 0 alone).

        Args:
            eta: (n_particles_total,)
            gap: full width of the gap.
        """
        half = gap / 2
        side = np.where(eta < -half, 0, np.where(eta > half, 1, -1))
        return cls(side.astype(np.int8))

    @cached_property
    def masks(self) -> tuple[Float64Array, Float64Array]:
        """1 for the particles of A, and for those of B; 0 for all others."""
        return (self.side == 0).astype(np.float64), (self.side == 1).astype(np.float64)


@dataclass(frozen=True)
class EventPlanes:
    """Event planes of the two sub-events of each event for one harmonic.

    Attributes:
        unit: (2, n_events) e^{i n psi}, psi = arg(sum w e^{i n phi})/n, of A and of B.
        vector: (2, n_events) the weighted sums themselves.
        defined: (n_events,) whether both sub-events have a plane.
    """

    unit: ComplexArray
    vector: ComplexArray
    defined: npt.NDArray[np.bool_]

    @property
    def resolution(self) -> Float64Array:
        """(n_events,) cos n(psi_A - psi_B); 0 where a plane is missing."""
        return (self.unit[0] * self.unit[1].conj()).real


def event_planes(
    batch: EventBatch, phases: Phases, n: int, halves: SubEvents, weight: FloatArray
) -> EventPlanes:
    """Planes of harmonic n from each half (paper, section IV C: weights are pT).

    Args:
        batch: the events.
        phases: of their particles.
        n: harmonic.
        halves: from SubEvents.split.
        weight: (n_particles_total,) weight of each particle in the sum.
    """
    terms = phases[n] * weight
    vector = np.stack([event_sums(terms * mask, batch.offsets) for mask in halves.masks])
    length = np.abs(vector)
    defined = np.all(length > 0, axis=0)
    unit = np.where(defined, vector / np.where(length > 0, length, 1.0), 0.0)
    return EventPlanes(unit, vector, defined)
