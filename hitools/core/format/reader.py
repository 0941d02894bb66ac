"""Reading event files and streams: batches by a particle budget, never a whole file.

with open_events("oo.h5") as events:
    for batch in events:
        ...
"""

import logging
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import h5py
import numpy as np

from hitools.core.batch import EventBatch, runs_by_budget
from hitools.core.errors import InputError
from hitools.core.format import consistency, layout, meta
from hitools.core.format.images import image_length, is_ordinary_file, iter_images, open_image
from hitools.core.format.meta import EventMeta

log = logging.getLogger(__name__)

MAX_PARTICLES: Final = 1 << 18
"""Default budget of a batch: 6 MB of particles, a thousand O-O events."""
_EVENT_ROWS: Final = 1 << 14
STANDARD_INPUT: Final = "-"


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
    return EventReader(source, max_particles, max_events)


class EventReader:
    """Iterates over EventBatch. Use as a context manager; iterate once.

    Attributes:
        meta: attributes of all images read so far, merged; of the first one after opening.
        n_events: how many events there are, None where only the end of a stream will tell.
        name: of the source, for messages.
    """

    def __init__(self, source: str | Path, max_particles: int, max_events: int | None) -> None:
        """See open_events."""
        self.name = "standard input" if str(source) == STANDARD_INPUT else str(source)
        self._max_particles = max_particles
        self._max_events = max_events
        self._closing = ExitStack()
        try:
            self._images, self._single = self._open(source)
            self._first = self._next_image()
        except BaseException:
            self._closing.close()
            raise
        self.meta, self._foreign = self._identify(self._first)
        self.n_events = len(self._first["events"]) if self._single else None

    def _open(self, source: str | Path) -> tuple[Iterator[h5py.File], bool]:
        """The images, and whether it is one ordinary file."""
        if str(source) != STANDARD_INPUT:
            path = Path(source)
            if path.is_dir():
                raise InputError(f"{path}: is a folder, expected an event file")
            if path.is_file() and is_ordinary_file(path):
                return iter([self._closing.enter_context(open_image(path, self.name))]), True
            try:
                stream: BinaryIO = self._closing.enter_context(path.open("rb"))
            except OSError as error:
                raise InputError(f"{path}: {error.strerror}") from None
        else:
            stream = sys.stdin.buffer
            if stream.isatty():
                raise InputError("standard input is a terminal: name a file, or pipe events in")
            if _is_one_image(stream):
                return iter([self._closing.enter_context(open_image(stream, self.name))]), True
        images = iter_images(stream, self.name, _count_events)
        self._closing.callback(images.close)
        return images, False

    def _next_image(self) -> h5py.File:
        image = next(self._images)
        layout.check_datasets(image, self.name)
        return image

    def _identify(self, image: h5py.File) -> tuple[EventMeta, bool]:
        """Metadata of an image, and whether it comes without our attributes."""
        if "format" in image.attrs:
            return meta.read_attributes(image, self.name), False
        log.warning(
            "%s: no hitools attributes; assumed: columns %s and %s, GeV/c, rad, fm; "
            "system, energy and selection unknown",
            self.name,
            ", ".join(layout.EVENT_COLUMNS),
            ", ".join(layout.PARTICLE_COLUMNS),
        )
        return meta.foreign_attributes(image, self.name), True

    def __iter__(self) -> Iterator[EventBatch]:
        """All events in order."""
        before = 0
        image: h5py.File | None = self._first
        while image is not None:
            yield from self._batches(image, before)
            before += len(image["events"])
            try:
                image = self._next_image()
            except StopIteration:
                return
            found, self._foreign = self._identify(image)
            self.meta = meta.merge(self.meta, found)

    def _batches(self, image: h5py.File, before: int) -> Iterator[EventBatch]:
        """The batches of one image that follows `before` events of this source."""
        for start in range(0, len(image["events"]), _EVENT_ROWS):
            rows = slice(start, min(start + _EVENT_ROWS, len(image["events"])))
            where = f"{self.name} from event {before}" if before else self.name
            events, counts = layout.read_events(image, rows, where)
            offsets = np.concatenate([[0], np.cumsum(counts)])
            for cut in runs_by_budget(offsets, self._max_particles, self._max_events):
                part = slice(start + cut.start, start + cut.stop)
                batch = layout.read_batch(image, part, events[cut], counts[cut], where)
                if self._foreign:
                    vectors = meta.foreign_attributes(image, where).event_vectors
                    consistency.require(batch, vectors, where, part.start)
                yield batch

    def rows(self) -> "RandomAccess":
        """Access to single events, where the source is one ordinary file.

        Raises InputError for a stream.
        """
        if not self._single:
            raise InputError(f"{self.name}: a stream, expected a file (hi-cat makes one)")
        return RandomAccess(self._first, self.name)

    def close(self) -> None:
        """Close the source."""
        self._closing.close()

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

    def __init__(self, file: h5py.File, where: str) -> None:
        """Read the event vectors (44 bytes an event) and keep them."""
        self._file = file
        self._where = where
        self.events, self.n_particles = layout.read_events(
            file, slice(0, len(file["events"])), where
        )

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
            pieces.append(
                layout.read_batch(
                    self._file, rows, self.events[rows], self.n_particles[rows], self._where
                )
            )
        return EventBatch.concatenate(pieces).take(np.argsort(order, kind="stable"))


def _count_events(file: h5py.File) -> int:
    events = file.get("events")
    return len(events) if isinstance(events, h5py.Dataset) else 0


def _is_one_image(stream: BinaryIO) -> bool:
    """Whether standard input is a plain file, at its start, that holds one image."""
    status = os.fstat(stream.fileno())
    if not stat.S_ISREG(status.st_mode) or stream.tell() != 0 or status.st_size < 56:
        return False
    header = stream.read(56)
    stream.seek(0)
    return image_length(header, "standard input") == status.st_size
