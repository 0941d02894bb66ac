"""Events of other formats on their way into ours: what is wanted of them, selection, faults.

The readers of this folder (hepmc, root, tables) turn whatever a file holds into RawEvents; accept()
does with them what is the same for all.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.features import (
    GEOMETRY_COLUMNS,
    BoolArray,
    Float32Array,
    Float64Array,
    FloatArray,
    IntArray,
)
from hitools.core.format import faults
from hitools.core.format.faults import Fault, FaultHandler
from hitools.core.format.meta import EventMeta, Selection

_SAFE_PT: Final = 1e30
"""GeV/c. Below this no number of particles has a sum of pT that float32 cannot hold."""

Charge = Literal["charged", "assumed", "all"]


@dataclass(frozen=True)
class InputOptions:
    """What is wanted of the input, and what the user says of it that it does not say itself.

    Attributes:
        eta_max: |eta| limit; None is 2.5, or what an event file of ours was made with.
        pt_min: lower pT limit in GeV/c; None is 0, or what an event file of ours was made with.
        charge: "charged" selects charged particles, "assumed" does so where the input tells which
            these are and otherwise takes all for charged, "all" keeps neutral ones too.
        geometry: whether b, n_coll and n_part are read; without, they are 0.
        gev_per_unit: 1e-3 where ROOT trees and HDF5 tables hold momenta in MeV.
        tree: name of the ROOT tree, None where there is only one.
        branches: ROOT branch for each quantity whose branch has another name.
        particle_columns: meaning of the particle columns of an HDF5 table, None for the usual.
        event_columns: likewise of the jet or event columns.
    """

    eta_max: float | None = None
    pt_min: float | None = None
    charge: Charge = "charged"
    geometry: bool = True
    gev_per_unit: float = 1.0
    tree: str | None = None
    branches: Mapping[str, str] = field(default_factory=dict)
    particle_columns: tuple[str, ...] | None = None
    event_columns: tuple[str, ...] | None = None

    @property
    def selection(self) -> Selection:
        """For input that holds whole events."""
        default = Selection()
        return Selection(
            self.charge != "all",
            default.eta_max if self.eta_max is None else self.eta_max,
            default.pt_min if self.pt_min is None else self.pt_min,
        )


class EventSource(Protocol):
    """Events of one input. Iterate once, then close.

    Attributes:
        name: for messages.
        meta: what is known of the events; complete when all have been read.
        n_events: how many there are to read, None where that is not known.
    """

    name: str
    n_events: int | None

    @property
    def meta(self) -> EventMeta: ...  # noqa: D102

    def __iter__(self) -> Iterator[EventBatch]:
        """The good events; bad ones went to the handler."""
        ...

    def close(self) -> None:
        """Close the input."""
        ...


@dataclass(frozen=True)
class RawEvents:
    """Consecutive events of a file, whole, before any selection.

    Attributes:
        first: index of the first event in its file.
        counts: (n_events,) particles per event.
        pt: (n_total,) GeV/c, events one after another.
        eta: (n_total,) pseudorapidity; anything where pt is 0.
        phi: (n_total,) azimuth, any branch.
        charged: (n_total,) whether a particle is charged, None where all are taken.
        geometry: (n_events, 3) b in fm, n_coll, n_part.
        weights: (n_events,).
        faults: what the reader found already, by event.
    """

    first: int
    counts: IntArray
    pt: FloatArray
    eta: FloatArray
    phi: FloatArray
    charged: BoolArray | None
    geometry: Float64Array
    weights: Float64Array
    faults: Mapping[int, Fault] = field(default_factory=dict)


def accept(raw: RawEvents, selection: Selection, where: str, on_fault: FaultHandler) -> EventBatch:
    """The good events of raw with the particles of the selection; bad ones go to the handler."""
    with np.errstate(over="ignore"):
        pt, eta, phi = (x.astype(np.float32) for x in (raw.pt, raw.eta, raw.phi))
    event = np.repeat(np.arange(len(raw.counts)), raw.counts)
    kept = selected(pt, eta, selection)
    if raw.charged is not None:
        kept &= raw.charged
    n_particles = np.bincount(event[kept], minlength=len(raw.counts))
    found = {
        row: Fault(raw.first + row, fault.reason, fault.detail)
        for row, fault in (
            *_empty(n_particles, selection),
            *_too_large(pt[kept], event[kept]),
            *_bad_particles(pt, eta, phi, event),
            *_bad_events(raw),
        )
    }
    found |= {fault.event - raw.first: fault for fault in raw.faults.values()}
    for _, fault in sorted(found.items()):
        on_fault(where, fault)
    good = np.ones(len(raw.counts), np.bool_)
    good[list(found)] = False
    kept &= good[event]
    b, n_coll, n_part = raw.geometry[good].T
    weights = raw.weights[good]
    return EventBatch.from_particles(
        pt[kept],
        eta[kept],
        phi[kept],
        n_particles[good],
        b,
        n_coll,
        n_part,
        weights if (weights != 1).any() else None,
    )


def selected(pt: Float32Array, eta: Float32Array, selection: Selection) -> BoolArray:
    """(n_total,) which particles are inside the limits, as stored: after rounding to float32."""
    return (pt > selection.pt_min) & (np.abs(eta) < selection.eta_max)


def spherical(
    px: FloatArray, py: FloatArray, pz: FloatArray
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """(pT, eta, phi) of momenta, float64; eta is infinite or NaN where pT is 0."""
    px, py, pz = (x.astype(np.float64) for x in (px, py, pz))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        pt = np.hypot(px, py)
        eta = np.arcsinh(pz / pt)
    return pt, eta, np.arctan2(py, px)


def not_finite(name: str, values: FloatArray, counts: IntArray, first: int) -> dict[int, Fault]:
    """A fault for each event in which this quantity of a particle is not finite.

    Args:
        name: of the quantity.
        values: (n_total,) events one after another.
        counts: (n_events,) particles per event.
        first: index of the first event in its file.

    Returns:
        Faults by the place of the event among these.
    """
    bad = np.flatnonzero(~np.isfinite(values))
    stops = np.cumsum(counts)
    return {
        row: Fault(first + row, faults.NOT_FINITE, f"{name} of a particle is not finite")
        for row in np.unique(np.searchsorted(stops, bad, side="right")).tolist()
    }


_Found = Iterator[tuple[int, Fault]]


def _empty(n_particles: IntArray, selection: Selection) -> _Found:
    for row in np.flatnonzero(n_particles == 0):
        yield int(row), Fault(0, faults.EMPTY, f"no particle is {selection}")


def _bad_particles(
    pt: Float32Array, eta: Float32Array, phi: Float32Array, event: IntArray
) -> _Found:
    # Beam remnants go along the beam: no pT, and any sort of eta.
    finite = np.isfinite(pt) & np.isfinite(phi) & (np.isfinite(eta) | (pt == 0))
    for row in np.unique(event[~finite]):
        yield int(row), Fault(0, faults.NOT_FINITE, "a particle's momentum is not finite")
    for row in np.unique(event[pt < 0]):
        lowest = pt[(event == row) & (pt < 0)][0]
        yield int(row), Fault(0, faults.NEGATIVE_PT, f"pT of a particle is {lowest:g}")


def _too_large(pt: Float32Array, event: IntArray) -> _Found:
    """Events whose sum of pT float32 cannot hold, though it can hold each term."""
    if not (pt > _SAFE_PT).any():
        return
    sums = np.bincount(event, pt)
    for row in np.flatnonzero(sums > np.finfo(np.float32).max):
        yield int(row), Fault(0, faults.NOT_FINITE, f"sum_pt is {sums[row]:g}, too large")


def _bad_events(raw: RawEvents) -> _Found:
    with np.errstate(over="ignore"):  # as they will be stored
        geometry, weights = raw.geometry.astype(np.float32), raw.weights.astype(np.float32)
    for row, column in zip(*np.nonzero(~np.isfinite(geometry)), strict=True):
        yield int(row), Fault(0, faults.NOT_FINITE, f"{GEOMETRY_COLUMNS[column]} is not finite")
    for row in np.flatnonzero(~(weights >= 0) | ~np.isfinite(weights)):
        weight = raw.weights[row]
        reason = faults.BAD_WEIGHT if weight < 0 else faults.NOT_FINITE
        yield int(row), Fault(0, reason, f"its weight is {weight:g}")
