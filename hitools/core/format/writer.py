"""Writing event files and streams: whole and right, or not at all.

with open_writer("oo.h5", meta) as out:
    out.write(batch)
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import h5py

from hitools.core.batch import EventBatch
from hitools.core.format import layout
from hitools.core.format.layout import Storage
from hitools.core.format.meta import EventMeta, write_attributes
from hitools.core.format.writing import Writer, open_target, writes_a_stream

__all__ = ["EventWriter", "open_writer", "writes_a_stream"]

EventWriter = Writer[EventBatch, EventMeta]


class _Events:
    """Event files as contents of images."""

    name = "events"

    def concatenate(self, batches: Sequence[EventBatch]) -> EventBatch:
        return EventBatch.concatenate(batches)

    def n_particles(self, batch: EventBatch) -> int:
        return len(batch.particles)

    def create(self, file: h5py.File, first: EventBatch, storage: Storage) -> None:
        layout.create_datasets(file, first, storage)

    def append(self, file: h5py.File, batch: EventBatch, storage: Storage) -> None:
        layout.append(file, batch, storage)

    def describe(self, file: h5py.File, meta: EventMeta) -> None:
        write_attributes(file, meta)


EVENTS: Final = _Events()


def open_writer(target: str | Path, meta: EventMeta, storage: Storage | None = None) -> EventWriter:
    """Write to a file, or to standard output with "-".

    Standard output gets a stream, or one ordinary file where it is redirected to a plain file.
    A target that exists and is no plain file (a named pipe, a device) gets a stream too.

    Args:
        target: path, or "-".
        meta: root attributes.
        storage: None is gzip 1 with checksums on disk, uncompressed in a stream.

    Raises:
        InputError: standard output is a terminal, or the target cannot be written.
    """
    return open_target(target, EVENTS, meta, storage)
