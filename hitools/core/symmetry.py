"""Events turned and mirrored: exact symmetries of the collision of two equal nuclei.

Training on them makes many events out of one. For unequal nuclei (p-Pb) eta has a direction, and
only the turn and the reflection of phi are symmetries.
"""

import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.features import FloatArray


def mirrors_eta(system: str | None) -> bool:
    """Whether eta -> -eta is a symmetry: of "Pb-Pb", not of "p-Pb" or what is not known."""
    one, _, other = (system or "").partition("-")
    return one == other != ""


def transformed(batch: EventBatch, numbers: FloatArray, *, mirror_eta: bool) -> EventBatch:
    """Every event turned around the beam by any angle, and mirrored in phi and in eta or not.

    Args:
        batch: the events.
        numbers: (n_events,) uniform in [0, 1): an event's transformation is a function of its own.
        mirror_eta: whether eta may be mirrored.

    Returns:
        The same events in another orientation, all columns computed anew.
    """
    quarters = 4 * numbers.astype(np.float64)
    which = quarters.astype(np.int64)
    turn = 2 * np.pi * (quarters - which)

    def spread(values: FloatArray) -> FloatArray:
        return np.repeat(values, batch.n_particles)

    return EventBatch.from_particles(
        batch.particle("pt"),
        batch.particle("eta") * spread(1.0 - 2.0 * (which % 2) * mirror_eta),
        batch.particle("phi") * spread(1.0 - 2.0 * (which // 2)) + spread(turn),
        batch.n_particles,
        batch.event("b"),
        batch.event("n_coll"),
        batch.event("n_part"),
        batch.weights,
    )
