"""JetBatch: the jets of a run of events, as tables.

find_jets makes it, the jet file keeps it, the comparison reads it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hitools.core.features import IntArray
from hitools.core.observables.jets.definition import JetDefinition, angularity_name

Table = npt.NDArray[np.void]
"""A structured array: one row a jet or an event, columns by name."""

JET_UNITS = {
    "event": "1",
    "pt": "GeV/c",
    "eta": "1",
    "phi": "rad",
    "energy": "GeV",
    "mass": "GeV/c2",
    "n_constituents": "1",
    "area": "1",
    "rho_area": "GeV/c",
    "pt_subtracted": "GeV/c",
    "wta_rapidity": "1",
    "wta_phi": "rad",
    "wta_delta_r": "1",
    "soft_drop_pt": "GeV/c",
    "soft_drop_eta": "1",
    "soft_drop_phi": "rad",
    "soft_drop_delta_r": "1",
    "z_g": "1",
    "r_g": "1",
}
"""Unit of each column of a jet; angularities are pure numbers."""

EVENT_UNITS = {
    "weight": "1",
    "n_jets": "1",
    "rho": "GeV/c",
    "rho_all": "GeV/c",
    "rho_occupied": "GeV/c",
}
"""Unit of each column of an event (rho per unit area)."""

_INTEGERS = ("event", "n_constituents", "n_jets")
_KINEMATICS = ("event", "pt", "eta", "phi", "energy", "mass", "n_constituents")
_AREA = ("area", "rho_area", "pt_subtracted")
_INSIDE = (
    "wta_rapidity",
    "wta_phi",
    "wta_delta_r",
    "soft_drop_pt",
    "soft_drop_eta",
    "soft_drop_phi",
    "soft_drop_delta_r",
    "z_g",
    "r_g",
)


def jet_columns(definition: JetDefinition) -> tuple[str, ...]:
    """The columns of a jet under this definition, in order."""
    names: tuple[str, ...] = _KINEMATICS
    if definition.areas is not None:
        names += _AREA
    return names + substructure_columns(definition)


def substructure_columns(definition: JetDefinition) -> tuple[str, ...]:
    """Those of the columns that only jets above the pT of substructure have."""
    if definition.substructure is None:
        return ()
    return _INSIDE + tuple(angularity_name(*exponents) for exponents in definition.angularities)


def event_columns(definition: JetDefinition) -> tuple[str, ...]:
    """The columns of an event under this definition, in order."""
    names: tuple[str, ...] = ("weight", "n_jets")
    return names if definition.areas is None else (*names, "rho", "rho_all", "rho_occupied")


def table_type(columns: Sequence[str]) -> np.dtype[np.void]:
    """Type of a table's rows: float64, int64 for counts and indices."""
    return np.dtype([(name, "<i8" if name in _INTEGERS else "<f8") for name in columns])


@dataclass(frozen=True, eq=False)
class JetBatch:
    """Jets of some events in a row.

    Attributes:
        jets: (n_jets,) by event, in an event by falling pT; "event" counts from 0 in this batch.
            What was not computed for a jet (substructure of a soft one) is NaN.
        events: (n_events,) weight, number of jets, and rho where there are areas.
        constituents: (sum of n_constituents,) int64 indices of the particles in their event, jet
            by jet, or None.
    """

    jets: Table
    events: Table
    constituents: IntArray | None = None

    @classmethod
    def empty(cls, definition: JetDefinition) -> "JetBatch":
        """No events, with the columns of this definition."""
        return cls(
            np.zeros(0, table_type(jet_columns(definition))),
            np.zeros(0, table_type(event_columns(definition))),
            np.zeros(0, np.int64) if definition.constituents else None,
        )

    @classmethod
    def concatenate(cls, batches: Sequence["JetBatch"]) -> "JetBatch":
        """All events of at least one batch, in order; all have the same columns."""
        if len(batches) == 1:
            return batches[0]
        jets = np.concatenate([batch.jets for batch in batches])
        starts = np.cumsum([0, *(len(batch) for batch in batches[:-1])])
        jets["event"] += np.repeat(starts, [len(batch.jets) for batch in batches])
        kept = [batch.constituents for batch in batches if batch.constituents is not None]
        return cls(
            jets,
            np.concatenate([batch.events for batch in batches]),
            np.concatenate(kept) if len(kept) == len(batches) else None,
        )

    def __len__(self) -> int:
        """Number of events."""
        return len(self.events)

    def __getitem__(self, rows: slice) -> "JetBatch":
        """A contiguous run of events."""
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise ValueError("a run of events has no step")
        first, last = np.searchsorted(self.jets["event"], [start, max(start, stop)])
        jets = self.jets[first:last].copy()
        jets["event"] -= start
        constituents = self.constituents
        if constituents is not None:
            ends = np.concatenate([[0], np.cumsum(self.jets["n_constituents"])])
            constituents = constituents[ends[first] : ends[last]]
        return JetBatch(jets, self.events[start:stop], constituents)

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """(n_jets,) weight of each jet's event."""
        return self.events["weight"][self.jets["event"]]

    @property
    def rank(self) -> IntArray:
        """(n_jets,) 0 for the hardest jet of its event, 1 for the next."""
        event = self.jets["event"]
        return np.arange(len(event)) - np.searchsorted(event, event)
