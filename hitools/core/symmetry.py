"""Events turned and mirrored: exact symmetries of the collision of two equal nuclei.

Training on them makes many events out of one. For unequal nuclei (p-Pb) eta has a direction, and
only the turn and the reflection of phi are symmetries.
"""

from typing import Any

import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.features import (
    EVENT_INDEX,
    GEOMETRY_COLUMNS,
    PARTICLE_INDEX,
    Array,
    Float64Array,
    FloatArray,
    features,
    spread,
)


def mirrors_eta(system: str | None) -> bool:
    """Whether eta -> -eta is a symmetry: of "Pb-Pb", not of "p-Pb" or what is not known."""
    one, _, other = (system or "").partition("-")
    return one == other != ""


def orientations(numbers: FloatArray, *, mirror_eta: bool) -> Float64Array:
    """Any angle around the beam, mirrored in phi and in eta or not, for each event.

    Args:
        numbers: (n_events,) uniform in [0, 1): an event's orientation is a function of its own.
        mirror_eta: whether eta may be mirrored.

    Returns:
        (3, n_events) factors of eta, factors of phi, and angles to turn by after that.
    """
    quarters = 4 * numbers.astype(np.float64)
    which = quarters.astype(np.int64)
    turn = 2 * np.pi * (quarters - which)
    return np.stack([1.0 - 2.0 * (which % 2) * mirror_eta, 1.0 - 2.0 * (which // 2), turn])


def turned_features(
    events: Array, particles: Array, offsets: Any, orientation: Any
) -> tuple[Array, Array]:
    """Event vectors and particles in another orientation, all columns computed anew.

    Args:
        events: (n_events, 11) float32.
        particles: (n_total, 6) float32.
        offsets: (n_events + 1,) int64.
        orientation: (3, n_events) float64, of orientations().

    Returns:
        The new events and particles; tensors where tensors were given.
    """
    pt, eta, phi = (particles[:, PARTICLE_INDEX[name]] for name in ("pt", "eta", "phi"))
    eta_factor, phi_factor, turn = (spread(one, offsets, len(particles)) for one in orientation)
    geometry = (events[:, EVENT_INDEX[name]] for name in GEOMETRY_COLUMNS)
    return features(pt, eta * eta_factor, phi * phi_factor + turn, offsets, *geometry)


def turned(batch: EventBatch, orientation: Float64Array) -> EventBatch:
    """The same events in another orientation, of orientations()."""
    events, particles = turned_features(batch.events, batch.particles, batch.offsets, orientation)
    return EventBatch(events, particles, batch.offsets, batch.weights)
