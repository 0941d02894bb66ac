"""Jets as a table of text, for whoever has no HDF5 at hand. One line per jet, columns by name."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

import numpy as np

from hitools.core.errors import InputError
from hitools.core.files import replacing
from hitools.core.observables.jets.definition import JetDefinition
from hitools.core.observables.jets.table import JetBatch, jet_columns

_ALWAYS: Final = (
    "event",
    "jet",
    "weight",
    "pt",
    "eta",
    "phi",
    "energy",
    "mass",
    "area",
    "n_constituents",
    "rho",
    "rho_all",
    "rho_occupied",
    "rho_area",
    "pt_subtracted",
    "wta_delta_r",
    "soft_drop_delta_r",
    "z_g",
    "r_g",
    "angularity",
)
"""Columns of every table; what was not computed is nan."""
_OF_EVENTS: Final = ("weight", "rho", "rho_all", "rho_occupied")
_WHOLE: Final = ("event", "jet", "n_constituents")


@contextmanager
def open_csv(target: str, definition: JetDefinition) -> Iterator["JetCsvWriter"]:
    """Write to a file, whole or not at all, or to standard output with "-".

    Raises InputError where the file cannot be written.
    """
    if target == "-":
        yield JetCsvWriter(sys.stdout, definition)
        sys.stdout.flush()
        return
    path = Path(target)
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: the folder {path.absolute().parent} does not exist")
    with replacing(path) as part, part.open("w", encoding="ascii") as out:
        yield JetCsvWriter(out, definition)


class JetCsvWriter:
    """Writes the header, then the jets batch by batch."""

    def __init__(self, out: TextIO, definition: JetDefinition) -> None:
        """Write to out, which the caller opens and closes."""
        further = [name for name in jet_columns(definition) if name not in _ALWAYS]
        self._columns = (*_ALWAYS, *further)
        self._out = out
        self._n_events = 0
        out.write(",".join(self._columns) + "\n")

    def write(self, batch: JetBatch) -> None:
        """Append the jets of these events; events are counted from 0 over all batches."""
        self._out.writelines(self._lines(batch))
        self._n_events += len(batch)

    def _lines(self, batch: JetBatch) -> Iterator[str]:
        event = batch.jets["event"]
        columns: dict[str, np.ndarray] = {
            **{name: batch.jets[name] for name in batch.jets.dtype.names or ()},
            **{
                name: batch.events[name][event]
                for name in _OF_EVENTS
                if name in (batch.events.dtype.names or ())
            },
            "event": event + self._n_events,
            "jet": batch.rank,
        }
        nothing = np.full(len(event), np.nan)
        rows = zip(*(columns.get(name, nothing).tolist() for name in self._columns), strict=True)
        # Ten digits: more than float32 events carry.
        form = ",".join("%d" if name in _WHOLE else "%.10g" for name in self._columns) + "\n"
        for row in rows:
            yield form % row
