"""Reading event files and streams: batches by a particle budget, never a whole file.

with open_events("oo.h5") as events:
    for batch in events:
        ...
"""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import h5py
import numpy as np

from hitools.core.batch import EventBatch, runs_by_budget
from hitools.core.errors import InputError
from hitools.core.features import EVENT_COLUMNS, PARTICLE_COLUMNS
from hitools.core.format import consistency, layout, meta
from hitools.core.format.faults import FaultHandler, refuse
from hitools.core.format.images import Image, ImageSource, count_events, damage_told
from hitools.core.format.meta import EventMeta

log = logging.getLogger(__name__)

MAX_PARTICLES: Final = 1 << 18
"""Default budget of a batch: 6 MB of particles, a thousand O-O events."""
_EVENT_ROWS: Final = 1 << 14


def open_events(
    source: str | Path, max_particles: int = MAX_PARTICLES, max_events: int | None = None
) -> "EventReader":
    """Open an event file, a file that holds a stream, or "-" for standard input.

    Args:
        source: path, or "-".
        max_particles: a batch holds at most this many particles (a larger event stands alone).
        max_events: and at most this many events, where given.

    Raises:
        InputError: the source is missing, empty, not of the format, or not complete. Damage that
            lies further in is raised when the iteration reaches it.
    """
    images = ImageSource(source)
    try:
        return EventReader(images, max_particles, max_events)
    except BaseException:
        images.close()
        raise


class EventReader:
    """Iterates over EventBatch. Use as a context manager; iterate once.

    Attributes:
        meta: attributes of all images read so far, merged; of the first one after opening.
        n_events: how many events there are, None where only the end of a stream will tell.
        name: of the source, for messages.
        indices: (n,) places in the source of the events of the batch that came last.
    """

    def __init__(
        self,
        source: ImageSource,
        max_particles: int,
        max_events: int | None,
        *,
        check_padding: bool = False,
        check_columns: bool = False,
        on_fault: FaultHandler = refuse,
    ) -> None:
        """Read from an open source, which is closed with the reader.

        Args:
            source: its images.
            max_particles: see open_events.
            max_events: see open_events.
            check_padding: also read what lies past n_particles; all must be 0.
            check_columns: hold the columns against the particles in files of ours too; those of
                others are always checked.
            on_fault: told of each bad event, which is then left out; raises by default.
        """
        self._source = source
        self._max_particles = max_particles
        self._max_events = max_events
        self._check_padding = check_padding
        self._check_columns = check_columns
        self._on_fault = on_fault
        self.name = source.name
        self.indices = np.zeros(0, np.int64)
        self.meta = self._identify(source.first)
        self.n_events = count_events(source.first) if source.is_file else None

    def _identify(self, image: h5py.File) -> EventMeta:
        """Metadata of an image whose datasets are in order; what is to be checked is noted."""
        with damage_told(self.name):
            layout.check_datasets(image, self.name)
            foreign = "format" not in image.attrs
            self._checked = foreign or self._check_columns
            if not foreign:
                found = meta.read_attributes(image, self.name)
                self._vectors = found.event_vectors
                return found
        log.warning(
            "%s: no hitools attributes; assumed: columns %s and %s, GeV/c, rad, fm; "
            "system, energy and selection unknown",
            self.name,
            ", ".join(EVENT_COLUMNS),
            ", ".join(PARTICLE_COLUMNS),
        )
        found = meta.foreign_attributes(image, self.name)
        self._vectors = found.event_vectors
        return found

    def __iter__(self) -> Iterator[EventBatch]:
        """All events in order."""
        before = 0
        for image in self._source:
            if image is not self._source.first:
                self.meta = meta.merge(self.meta, self._identify(image))
            yield from self._batches(image, before)
            before += count_events(image)

    def _batches(self, image: Image, before: int) -> Iterator[EventBatch]:
        """The batches of one image that follows `before` events of this source."""
        slots = image["particles"].shape[1]
        reader = layout.BatchReader(image)
        for start in range(0, len(image["events"]), _EVENT_ROWS):
            rows = slice(start, min(start + _EVENT_ROWS, len(image["events"])))
            where = f"{self.name} from event {before}" if before else self.name
            events = layout.read_events(image, rows, where)
            counts = layout.counts_of(events, slots)
            offsets = np.concatenate([[0], np.cumsum(counts)])
            for cut in runs_by_budget(offsets, self._max_particles, self._max_events):
                part = slice(start + cut.start, start + cut.stop)
                batch = reader.read(part, events[cut], counts[cut], where)
                sound = self._sound(image, batch, part, before + part.start)
                if len(sound):
                    yield sound

    def _sound(self, image: Image, batch: EventBatch, rows: slice, first: int) -> EventBatch:
        """The batch without its bad events, of which the handler is told in order.

        Args:
            image: where the batch was read.
            batch: some events.
            rows: their rows in the image.
            first: number of events of this source before the batch.
        """
        faults = layout.faults(batch, image["particles"].shape[1])
        if self._checked:
            faults += layout.hole_faults(batch)
        if self._check_padding:
            known = {fault.event for fault in faults}
            padding = layout.padding_faults(image["particles"], rows, batch.n_particles, self.name)
            faults += [fault for fault in padding if fault.event not in known]
        kept = np.arange(len(batch))
        if faults:
            one_each = {fault.event: fault for fault in reversed(faults)}
            for event, fault in sorted(one_each.items()):
                self._on_fault(self.name, replace(fault, event=first + event))
            kept = np.delete(kept, list(one_each))
            batch = batch.take(kept)
        self.indices = first + kept
        if self._checked:
            consistency.require(batch, self._vectors, self.name, self.indices)
        return batch

    def rows(self) -> "RandomAccess":
        """Access to single events, where the source is one ordinary file.

        Raises InputError for a stream.
        """
        if not self._source.is_file:
            raise InputError(f"{self.name}: a stream, expected a file (hi-cat makes one)")
        return RandomAccess(self._source.first, self.name)

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def __enter__(self) -> Self:
        """Enter; the source is open already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the source."""
        self.close()


class RandomAccess:
    """Any events of one ordinary file, in any order, reading only their own chunks."""

    def __init__(self, file: Image, where: str) -> None:
        """Read the event vectors (44 bytes an event) and keep them."""
        self._reader = layout.BatchReader(file)
        self._where = where
        self.events = layout.read_events(file, slice(0, len(file["events"])), where)
        self._slots = file["particles"].shape[1]
        for fault in layout.event_faults(self.events, self._slots):
            refuse(where, fault)
        self.n_particles = layout.counts_of(self.events, self._slots)

    def __len__(self) -> int:
        """Number of events."""
        return len(self.n_particles)

    def read(self, indices: np.ndarray) -> EventBatch:
        """The events of these indices, in that order; runs of neighbours are read together."""
        order = np.argsort(indices, kind="stable")
        runs = np.split(indices[order], np.flatnonzero(np.diff(indices[order]) != 1) + 1)
        pieces = []
        for run in runs:
            if not len(run):
                continue
            rows = slice(int(run[0]), int(run[-1]) + 1)
            batch = self._reader.read(rows, self.events[rows], self.n_particles[rows], self._where)
            for fault in layout.faults(batch, self._slots):
                refuse(self._where, replace(fault, event=rows.start + fault.event))
            pieces.append(batch)
        return EventBatch.concatenate(pieces).take(np.argsort(order, kind="stable"))
