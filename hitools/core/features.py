"""The 11 event features and the 6 particle features: names, units, order, and how they follow.

Every other module takes the meaning of a column from here. Momenta are in GeV/c, angles in
radians in (-pi, pi], the impact parameter in fm.

The formulas take numpy arrays or tensors and return what they were given: a GPU that turns training
events computes their columns by the lines that wrote the event file.
"""

import sys
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

FloatArray = npt.NDArray[np.floating]
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

Array = TypeVar("Array", Float32Array, FloatArray, "Tensor")
"""Numpy or torch."""

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

SMALL: Final = 128
"""Particles below which an event is small: half of the events of O-O, with a seventh of the
particles. Each has much to add to the sums, which takes finer steps to meet: a move to them at the
end, which is of first order, would be seen."""


def _library(array: object) -> Any:
    """Of an array: torch or numpy. What is used of them here is called alike in both."""
    torch = sys.modules.get("torch")  # where nothing has imported it, nothing is a tensor
    return torch if torch is not None and isinstance(array, torch.Tensor) else np


def wrap_angle(angle: Array) -> Array:
    """The same angle in (-pi, pi], in the type of the input."""
    xp = _library(angle)
    wrapped = angle - 2 * np.pi * xp.ceil((angle - np.pi) / (2 * np.pi))
    # Rounding can leave a value a few ulp outside the interval.
    return xp.where(wrapped <= -np.pi, wrapped + 2 * np.pi, wrapped).clip(max=np.pi)


@overload
def segment_sums(values: FloatArray, offsets: IntArray) -> Float64Array: ...
@overload
def segment_sums(values: "Tensor", offsets: "Tensor") -> "Tensor": ...
def segment_sums(values: Any, offsets: Any) -> Any:
    """Sums per event in float64.

    Args:
        values: (n_particles_total,) or (n_particles_total, n) per particle.
        offsets: (n_events + 1,), event k holds particles offsets[k]:offsets[k+1].

    Returns:
        (n_events,) or (n_events, n) float64; 0 for an event without particles.
    """
    xp = _library(values)
    n_events = len(offsets) - 1
    if xp is np:
        sums = np.zeros((n_events, *values.shape[1:]))
        filled = np.flatnonzero(np.diff(offsets))
        if filled.size:
            sums[filled] = np.add.reduceat(values, offsets[filled], axis=0, dtype=np.float64)
        return sums
    event = spread(xp.arange(n_events, device=values.device), offsets, len(values))
    sums = values.new_zeros((n_events, *values.shape[1:]), dtype=xp.float64)
    return sums.index_add(0, event, values.double())


def spread(values: Any, offsets: Any, n_particles_total: int) -> Any:
    """Hand each particle its event's value: (n_events,) to (n_particles_total,)."""
    xp = _library(values)
    if xp is np:
        return np.repeat(values, np.diff(offsets))
    # Told the size, a GPU does not wait for the counts.
    return xp.repeat_interleave(values, offsets.diff(), output_size=n_particles_total)


def features(
    pt: Array, eta: Array, phi: Array, offsets: Any, b: Any, n_coll: Any, n_part: Any
) -> tuple[Array, Array]:
    """Event vectors and particle features, all that follows from (pT, eta, phi) and the geometry.

    The kinematics are rounded to float32 first, so that whoever recomputes the columns
    from the stored particles finds the stored values.

    Args:
        pt: (n_particles_total,) GeV/c, of all events one after another.
        eta: (n_particles_total,) pseudorapidities.
        phi: (n_particles_total,) azimuthal angles, any branch.
        offsets: (n_events + 1,) event k holds particles offsets[k]:offsets[k+1].
        b: (n_events,) impact parameters in fm.
        n_coll: (n_events,) numbers of nucleon-nucleon collisions.
        n_part: (n_events,) numbers of participants.

    Returns:
        (n_events, 11) and (n_particles_total, 6) float32, as event_features and particle_features.
    """
    xp = _library(pt)
    pt, eta, phi = (xp.asarray(x, dtype=xp.float32) for x in (pt, eta, phi))
    phi = wrap_angle(phi)
    events = event_features(pt, eta, phi, offsets, b, n_coll, n_part)
    return events, particle_features(pt, eta, phi, offsets, events)


def event_features(
    pt: Array, eta: Array, phi: Array, offsets: Any, b: Any, n_coll: Any, n_part: Any
) -> Array:
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
    xp = _library(pt)
    pt64, eta64, phi64 = (xp.asarray(x, dtype=xp.float64) for x in (pt, eta, phi))
    n_particles = xp.diff(offsets)
    per_particle = xp.stack(
        [pt64, pt64 * xp.cos(2 * phi64), pt64 * xp.sin(2 * phi64), eta64, phi64], 1
    )
    sum_pt, q_x, q_y, sum_eta, sum_phi = segment_sums(per_particle, offsets).T
    safe_n = n_particles.clip(1)
    columns = {
        "mean_pt": sum_pt / safe_n,
        "sum_pt": sum_pt,
        "q_x": q_x,
        "q_y": q_y,
        "psi_2": xp.arctan2(q_y, q_x) / 2,
        "b": b,
        "n_coll": n_coll,
        "n_part": n_part,
        "mean_eta": sum_eta / safe_n,
        "mean_phi": sum_phi / safe_n,
        "n_particles": n_particles,
    }
    exact = xp.stack([xp.asarray(columns[name], dtype=xp.float64) for name in EVENT_COLUMNS], 1)
    return xp.asarray(exact, dtype=xp.float32)


def particle_features(pt: Array, eta: Array, phi: Array, offsets: Any, events: Array) -> Array:
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
    xp = _library(pt)
    mean_pt, mean_eta, mean_phi = (
        spread(xp.asarray(events[:, EVENT_INDEX[name]], dtype=xp.float64), offsets, len(pt))
        for name in ("mean_pt", "mean_eta", "mean_phi")
    )
    columns = {
        "phi_rel": wrap_angle(phi - mean_phi),
        "pt_rel": xp.log(pt / mean_pt),
        "eta_rel": eta - mean_eta,
        "pt": pt,
        "eta": eta,
        "phi": wrap_angle(phi),
    }
    # float32(pi) lies above pi, so rounding keeps the interval's closed end.
    return xp.stack([xp.asarray(columns[name], dtype=xp.float32) for name in PARTICLE_COLUMNS], 1)
