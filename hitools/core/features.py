"""The 11 event features and the 6 particle features: names, units, order, and how they follow.

Every other module takes the meaning of a column from here. Momenta are in GeV/c, angles in
radians in (-pi, pi], the impact parameter in fm.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

EVENT_UNITS: Final[dict[str, str]] = {
    "mean_pt": "GeV/c",
    "sum_pt": "GeV/c",
    "q_x": "GeV/c",
    "q_y": "GeV/c",
    "psi_2": "rad",
    "b": "fm",
    "n_coll": "1",
    "n_part": "1",
    "mean_eta": "1",
    "mean_phi": "rad",
    "n_particles": "1",
}
PARTICLE_UNITS: Final[dict[str, str]] = {
    "phi_rel": "rad",
    "pt_rel": "1",
    "eta_rel": "1",
    "pt": "GeV/c",
    "eta": "1",
    "phi": "rad",
}
EVENT_COLUMNS: Final = tuple(EVENT_UNITS)
PARTICLE_COLUMNS: Final = tuple(PARTICLE_UNITS)
EVENT_INDEX: Final = {name: i for i, name in enumerate(EVENT_COLUMNS)}
PARTICLE_INDEX: Final = {name: i for i, name in enumerate(PARTICLE_COLUMNS)}

COUNT_COLUMNS: Final = ("n_coll", "n_part", "n_particles")
"""Event columns that hold whole numbers."""

GEOMETRY_COLUMNS: Final = ("b", "n_coll", "n_part")
"""Event columns that only the generator knows; the particles do not determine them."""


def wrap_angle(angle: FloatArray) -> FloatArray:
    """The same angle in (-pi, pi], in the type of the input."""
    two_pi = angle.dtype.type(2 * np.pi)
    pi = angle.dtype.type(np.pi)
    wrapped = angle - two_pi * np.ceil((angle - pi) / two_pi)
    # Rounding can leave a value a few ulp outside the interval.
    wrapped = np.where(wrapped <= -pi, wrapped + two_pi, wrapped)
    return np.minimum(wrapped, pi).astype(angle.dtype, copy=False)


def segment_sums(values: FloatArray, offsets: IntArray) -> Float64Array:
    """Sums per event in float64.

    Args:
        values: (n_particles_total,) or (n_particles_total, n) per particle.
        offsets: (n_events + 1,), event k holds particles offsets[k]:offsets[k+1].

    Returns:
        (n_events,) or (n_events, n) float64; 0 for an event without particles.
    """
    n_events = len(offsets) - 1
    sums = np.zeros((n_events, *values.shape[1:]))
    filled = np.flatnonzero(np.diff(offsets))
    if filled.size:
        sums[filled] = np.add.reduceat(values, offsets[filled], axis=0, dtype=np.float64)
    return sums


def event_features(
    pt: FloatArray,
    eta: FloatArray,
    phi: FloatArray,
    offsets: IntArray,
    b: npt.ArrayLike,
    n_coll: npt.ArrayLike,
    n_part: npt.ArrayLike,
) -> Float32Array:
    """The event vector of each event (paper, section III B).

    q_x = sum pT cos 2phi, q_y = sum pT sin 2phi, psi_2 = atan2(q_y, q_x)/2; means are plain
    averages over the particles. Sums run in float64.

    Args:
        pt: (n_particles_total,) transverse momenta in GeV/c, of all events one after another.
        eta: (n_particles_total,) pseudorapidities.
        phi: (n_particles_total,) azimuthal angles.
        offsets: (n_events + 1,) event k holds particles offsets[k]:offsets[k+1].
        b: (n_events,) impact parameters in fm.
        n_coll: (n_events,) numbers of nucleon-nucleon collisions.
        n_part: (n_events,) numbers of participants.

    Returns:
        (n_events, 11) float32 in the order of EVENT_COLUMNS. Means of an empty event are 0.
    """
    pt64, phi64 = pt.astype(np.float64), phi.astype(np.float64)
    n_particles = np.diff(offsets)
    per_particle = np.stack(
        [pt64, pt64 * np.cos(2 * phi64), pt64 * np.sin(2 * phi64), eta, phi64], axis=1
    )
    sum_pt, q_x, q_y, sum_eta, sum_phi = segment_sums(per_particle, offsets).T
    safe_n = np.maximum(n_particles, 1)
    columns = {
        "mean_pt": sum_pt / safe_n,
        "sum_pt": sum_pt,
        "q_x": q_x,
        "q_y": q_y,
        "psi_2": np.arctan2(q_y, q_x) / 2,
        "b": b,
        "n_coll": n_coll,
        "n_part": n_part,
        "mean_eta": sum_eta / safe_n,
        "mean_phi": sum_phi / safe_n,
        "n_particles": n_particles,
    }
    return np.stack(
        [np.asarray(columns[name], dtype=np.float64) for name in EVENT_COLUMNS], 1
    ).astype(np.float32)


def particle_features(
    pt: FloatArray, eta: FloatArray, phi: FloatArray, offsets: IntArray, events: Float32Array
) -> Float32Array:
    """The six features of each particle, relative ones against the event vector given.

    pt_rel = ln(pT / mean_pt); phi_rel and eta_rel are differences to mean_phi and mean_eta,
    phi_rel wrapped into (-pi, pi] (paper, section III B).

    Args:
        pt: (n_particles_total,) transverse momenta in GeV/c.
        eta: (n_particles_total,) pseudorapidities.
        phi: (n_particles_total,) azimuthal angles.
        offsets: (n_events + 1,) event k holds particles offsets[k]:offsets[k+1].
        events: (n_events, 11) in the order of EVENT_COLUMNS.

    Returns:
        (n_particles_total, 6) float32 in the order of PARTICLE_COLUMNS.
    """
    counts = np.diff(offsets)
    mean_pt, mean_eta, mean_phi = (
        np.repeat(events[:, EVENT_INDEX[name]].astype(np.float64), counts)
        for name in ("mean_pt", "mean_eta", "mean_phi")
    )
    columns = {
        "phi_rel": wrap_angle(phi - mean_phi),
        "pt_rel": np.log(pt / mean_pt),
        "eta_rel": eta - mean_eta,
        "pt": pt,
        "eta": eta,
        "phi": wrap_angle(np.asarray(phi)),
    }
    # float32(pi) lies above pi, so rounding keeps the interval's closed end.
    return np.stack([columns[name].astype(np.float32) for name in PARTICLE_COLUMNS], axis=1)
