"""Writing event files and streams: whole and right, or not at all.

    with open_writer("oo.h5", meta) as out:
        out.write(batch)

A file is written under a temporary name and renamed when the block ends without an exception;
a stream gets its end marker then. With an exception nothing is left behind and the stream stays
open-ended, which its reader reports.
"""

import io
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol, Self

import h5py

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.format import layout
from hitools.core.format.images import LIBVER, ImageStreamWriter
from hitools.core.format.layout import ON_A_PIPE, ON_DISK, Storage
from hitools.core.format.meta import EventMeta, write_attributes

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STANDARD_OUTPUT: Final = "-"
_IMAGE_EVENTS: Final = 256
_IMAGE_PARTICLES: Final = 1 << 18
_FILE_BLOCK_EVENTS: Final = 1024


class EventWriter(Protocol):
    """Where events go. A context manager; meta may be replaced until the block ends."""

    meta: EventMeta

    def write(self, batch: EventBatch) -> None:
        """Append events."""
        ...

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish, or undo where there was an exception."""
        ...


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
    if str(target) == STANDARD_OUTPUT:
        out = sys.stdout.buffer
        if out.isatty():
            raise InputError(
                "standard output is a terminal and events are binary: use -o FILE or a pipe"
            )
        if writes_a_stream(target):
            return _StreamWriter(out, meta, storage or ON_A_PIPE)
        return _RedirectedWriter(out, meta, storage or ON_DISK)
    path = Path(target)
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected a file name")
    if writes_a_stream(target):
        return _StreamWriter(path.open("wb"), meta, storage or ON_A_PIPE)
    return _FileWriter(path, meta, storage or ON_DISK)


def writes_a_stream(target: str | Path) -> bool:
    """Whether open_writer would send a stream there, not make a file."""
    if str(target) == STANDARD_OUTPUT:
        return not stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)
    path = Path(target)
    return path.exists() and not path.is_file()


class _FileWriter:
    def __init__(self, path: Path, meta: EventMeta, storage: Storage) -> None:
        self.meta = meta
        self._path = path
        self._storage = storage
        self._buffer = _Buffer()
        self._created = False
        try:
            handle, name = tempfile.mkstemp(
                prefix=f".{path.name}.", suffix=".part", dir=path.parent
            )
            os.close(handle)
        except OSError as error:
            raise InputError(f"{path}: cannot write: {error.strerror}") from None
        self._part = Path(name)
        self._sink = _Sink(self._part)
        self._file = h5py.File(self._sink, "w", libver=LIBVER)

    def write(self, batch: EventBatch) -> None:
        self._buffer.add(batch)
        if self._buffer.n_events >= _FILE_BLOCK_EVENTS:
            self._flush()
            self._check_sink()

    def _check_sink(self) -> None:
        if self._sink.failure is not None:
            raise InputError(f"{self._path}: cannot write: {self._sink.failure.strerror}")

    def _flush(self) -> None:
        batch = self._buffer.take()
        if not self._created:
            layout.create_datasets(self._file, batch, self._storage)
            self._created = True
        layout.append(self._file, batch, self._storage)

    def finish(self) -> None:
        self._flush()
        write_attributes(self._file, self.meta)
        self._file.attrs["complete"] = True
        self._file.close()
        self._check_sink()
        self._sink.close()
        self._publish()

    def _publish(self) -> None:
        umask = os.umask(0)
        os.umask(umask)
        self._part.chmod(0o666 & ~umask)
        self._part.replace(self._path)

    def discard(self) -> None:
        self._sink.give_up()
        self._file.close()
        self._sink.close()
        self._part.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.discard()
            return
        try:
            self.finish()
        except BaseException:
            self.discard()
            raise


class _Sink(io.FileIO):
    """A file that takes note of a failed write and pretends that it went well.

    The HDF5 library crashes at exit when it could not write (a full disk); so it never hears of
    it, and whoever owns the sink looks at `failure`.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "r+")
        self.failure: OSError | None = None

    def write(self, data: "ReadableBuffer", /) -> int:
        view = memoryview(data).cast("B")
        left = view
        while left and self.failure is None:
            try:
                left = left[super().write(left) :]
            except OSError as error:
                self.failure = error
        return len(view)

    def truncate(self, size: int | None = None, /) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return size or 0

    def give_up(self) -> None:
        """From now on nothing is written."""
        self.failure = self.failure or OSError(0, "given up")


class _RedirectedWriter(_FileWriter):
    """One ordinary file on a standard output that is a plain file: `hi-mc ... > oo.h5`.

    HDF5 has to seek and to read while it writes, so the file is made elsewhere and copied.
    """

    def __init__(self, out: BinaryIO, meta: EventMeta, storage: Storage) -> None:
        self._out = out
        super().__init__(Path(tempfile.gettempdir()) / "hitools", meta, storage)

    def _publish(self) -> None:
        with self._part.open("rb") as made:
            shutil.copyfileobj(made, self._out, 1 << 20)
        self._out.flush()
        self._part.unlink()


class _StreamWriter:
    """Images of 1, 2, 4, ... events up to 256: the first event arrives at once."""

    def __init__(self, out: BinaryIO, meta: EventMeta, storage: Storage) -> None:
        self.meta = meta
        self._images = ImageStreamWriter(out)
        self._storage = storage
        self._buffer = _Buffer()
        self._events_per_image = 1

    def write(self, batch: EventBatch) -> None:
        # Cut by counts of events and particles alone, so that the bytes of a stream do not
        # depend on how its events arrived here.
        for event in range(len(batch)):
            self._buffer.add(batch[event : event + 1])
            if (
                self._buffer.n_events >= self._events_per_image
                or self._buffer.n_particles >= _IMAGE_PARTICLES
            ):
                self._images.write(self._fill)
                self._events_per_image = min(2 * self._events_per_image, _IMAGE_EVENTS)

    def _fill(self, file: h5py.File) -> int:
        batch = self._buffer.take()
        layout.create_datasets(file, batch, self._storage)
        layout.append(file, batch, self._storage)
        write_attributes(file, self.meta)
        return len(batch)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            if self._buffer.n_events:
                self._images.write(self._fill)
            self._images.finish(self._fill)


class _Buffer:
    """Batches that wait to be written together."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._batches: list[EventBatch] = []
        self.n_events = 0
        self.n_particles = 0

    def add(self, batch: EventBatch) -> None:
        self._batches.append(batch)
        self.n_events += len(batch)
        self.n_particles += int(batch.offsets[-1])

    def take(self) -> EventBatch:
        batch = EventBatch.concatenate(self._batches)
        self._clear()
        return batch
