"""Events in our own format, or in its layout without our attributes: taken over, or cut further."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.features import EVENT_INDEX, GEOMETRY_COLUMNS, segment_sums
from hitools.core.format import faults
from hitools.core.format.faults import Fault, FaultHandler
from hitools.core.format.images import ImageSource
from hitools.core.format.meta import EventMeta, Selection
from hitools.core.format.reader import MAX_PARTICLES, EventReader
from hitools.core.sources.foreign import InputOptions, selected


class HiSource:
    """Events of our format; see EventSource.

    They stay as they are, bit by bit, unless a limit is given: then their event vectors are
    computed from the particles inside it.
    """

    def __init__(self, images: ImageSource, options: InputOptions, on_fault: FaultHandler) -> None:
        """Begin with an open file or stream, which is closed with the source.

        Raises:
            InputError: the options ask for particles that the input does not hold.
        """
        self._on_fault = on_fault
        self._options = options
        self._reader = EventReader(
            images,
            MAX_PARTICLES,
            None,
            # In files of ours nothing can lie there, and looking costs more than reading.
            check_padding="format" not in images.first.attrs,
            check_columns=True,
            on_fault=on_fault,
        )
        self.name = images.name
        self.n_events = self._reader.n_events
        _narrowed(self._reader.meta.selection, options, self.name)  # before anything is written
        self._cut = None
        if options.eta_max is not None or options.pt_min is not None:
            self._cut = Selection(
                eta_max=math.inf if options.eta_max is None else options.eta_max,
                pt_min=options.pt_min or 0.0,
            )

    @property
    def meta(self) -> EventMeta:
        """Of the input, with the selection that holds after the cuts."""
        meta = self._reader.meta
        meta = replace(meta, selection=_narrowed(meta.selection, self._options, self.name))
        return meta if self._cut is None else replace(meta, event_vectors="particles")

    def __iter__(self) -> Iterator[EventBatch]:
        """The good events."""
        for read in self._reader:
            batch = read if self._options.geometry else _without_geometry(read)
            batch = batch if self._cut is None else _inside(batch, self._cut)
            empty = batch.n_particles == 0
            for row in np.flatnonzero(empty):
                limits = self.meta.selection or self._cut or "in it"
                fault = Fault(
                    int(self._reader.indices[row]), faults.EMPTY, f"no particle is {limits}"
                )
                self._on_fault(self.name, fault)
            if empty.any():
                batch = batch.take(~empty)
            if len(batch):
                yield batch

    def close(self) -> None:
        """Close the input."""
        self._reader.close()


def _narrowed(stored: Selection | None, options: InputOptions, where: str) -> Selection | None:
    """The selection of stored events after the limits of the options; None where it is unknown."""
    if stored is None:
        if options.charge == "charged" or options.eta_max is None:
            return None
        return options.selection
    if options.charge == "all" and stored.charged:
        raise InputError(f"{where}: holds only particles that are {stored}, no neutral ones")
    if options.charge == "assumed" and not stored.charged:
        raise InputError(f"{where}: says that neutral particles are in it")
    eta_max = stored.eta_max if options.eta_max is None else options.eta_max
    pt_min = stored.pt_min if options.pt_min is None else options.pt_min
    if eta_max > stored.eta_max or pt_min < stored.pt_min:
        raise InputError(
            f"{where}: holds only particles that are {stored}; limits can only be tightened"
        )
    return Selection(stored.charged, eta_max, pt_min)


def _without_geometry(batch: EventBatch) -> EventBatch:
    events = batch.events.copy()
    events[:, [EVENT_INDEX[name] for name in GEOMETRY_COLUMNS]] = 0
    return replace(batch, events=events)


def _inside(batch: EventBatch, cut: Selection) -> EventBatch:
    """The particles inside the cut, with event vectors that follow from them."""
    pt, eta, phi = (batch.particle(name) for name in ("pt", "eta", "phi"))
    kept = selected(pt, eta, cut)
    return EventBatch.from_particles(
        pt[kept],
        eta[kept],
        phi[kept],
        segment_sums(kept.astype(np.float64), batch.offsets).astype(np.int64),
        batch.event("b"),
        batch.event("n_coll"),
        batch.event("n_part"),
        batch.weights,
    )
