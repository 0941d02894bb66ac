"""Do the stored columns follow from the stored particles?

Used by hi-prep and by hi-info --check, and by every reader on files that come without our
attributes. The tolerance allows sums that were accumulated in float32.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.features import EVENT_INDEX, GEOMETRY_COLUMNS, IntArray, segment_sums
from hitools.core.format.meta import EventVectors

_TOLERANCE: Final = 2e-5
"""Relative to the sum of absolute terms; float32 sums of 10^4 terms stay below 1e-5."""


@dataclass(frozen=True)
class Mismatch:
    """The first event of a batch in which one column differs from what it must be."""

    column: str
    event: int
    stored: float
    expected: str

    def __str__(self) -> str:
        """One clause for a message."""
        return f"{self.column} is {self.stored:g}, {self.expected}"


def require(batch: EventBatch, vectors: EventVectors, where: str, indices: IntArray) -> None:
    """Raise InputError for a mismatch in the batch, whose events have these (n_events,) indices."""
    for mismatch in mismatches(batch, vectors):
        raise InputError(f"{where}: event {indices[mismatch.event]}: {mismatch}")


def mismatches(batch: EventBatch, vectors: EventVectors) -> Iterator[Mismatch]:
    """For each column that disagrees with the particles, the first event where it does.

    Generated event vectors are not compared: how far they are from the particles is a property
    of the model (hi-qclosure measures it). pt must be positive, phi in (-pi, pi] in any case.
    """
    pt, phi = batch.particle("pt"), batch.particle("phi")
    limits = {
        "pt": (pt > 0, pt, "expected more than 0"),
        "phi": (np.abs(phi) <= np.float32(np.pi), phi, "expected -pi to pi"),
    }
    for name, (good, values, expected) in limits.items():
        if not good.all():
            bad = int(np.argmin(good))
            yield Mismatch(
                f"{name} of a particle",
                int(batch.event_of_particle[bad]),
                float(values[bad]),
                expected,
            )
            return
    if vectors == "generated":
        return
    with np.errstate(over="ignore"):  # infinity differs from whatever is stored
        again = batch.recomputed()
    yield from _event_mismatches(batch, again)
    yield from _particle_mismatches(batch, again)


def _event_mismatches(batch: EventBatch, again: EventBatch) -> Iterator[Mismatch]:
    sums = segment_sums(np.abs(batch.particles[:, 3:]), batch.offsets)
    count = np.maximum(batch.n_particles, 1)
    scale = {
        "mean_pt": sums[:, 0] / count,
        "sum_pt": sums[:, 0],
        "q_x": sums[:, 0],
        "q_y": sums[:, 0],
        "mean_eta": sums[:, 1] / count,
        "mean_phi": sums[:, 2] / count,
    }
    # An angle is known as well as its vector is long.
    q = np.hypot(again.event("q_x"), again.event("q_y"))
    for column in EVENT_INDEX:
        if column in GEOMETRY_COLUMNS or column == "n_particles":
            continue
        stored, computed = batch.event(column), again.event(column)
        if column == "psi_2":
            wrong = q * np.abs(np.sin(stored - computed)) > _TOLERANCE * sums[:, 0] + 1e-6 * q
        else:
            wrong = ~(np.abs(stored - computed) <= _TOLERANCE * scale[column])
        if wrong.any():
            bad = int(np.argmax(wrong))
            yield Mismatch(column, bad, float(stored[bad]), _given(computed[bad]))


def _particle_mismatches(batch: EventBatch, again: EventBatch) -> Iterator[Mismatch]:
    for column, wrap in (("phi_rel", True), ("pt_rel", False), ("eta_rel", False)):
        stored, computed = batch.particle(column), again.particle(column)
        difference = np.abs(stored - computed)
        if wrap:
            difference = np.minimum(difference, np.abs(2 * np.pi - difference))
        wrong = ~(difference <= 10 * _TOLERANCE)
        if wrong.any():
            bad = int(np.argmax(wrong))
            yield Mismatch(
                f"{column} of a particle",
                int(batch.event_of_particle[bad]),
                float(stored[bad]),
                _given(computed[bad]),
            )


def _given(value: np.float32) -> str:
    return f"its particles give {value:g}"
