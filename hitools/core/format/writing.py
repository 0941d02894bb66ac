"""Writing images of anything: one file, whole and right or not at all, or a stream of pieces.

Event files and jet files leave through here; what goes into an image is for the Contents to say.
A file is written under a temporary name and renamed when the block ends without an exception;
a stream gets its end marker then. With an exception nothing is left behind and the stream stays
open-ended, which its reader reports.
"""

import io
import os
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Final, Generic, Protocol, Self, TypeVar

import h5py

from hitools.core.errors import InputError
from hitools.core.format.images import LIBVER, ImageStreamWriter, writing_to
from hitools.core.format.layout import ON_A_PIPE, ON_DISK, Storage
from hitools.core.interrupts import interrupts_held

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STANDARD_OUTPUT: Final = "-"
_IMAGE_EVENTS: Final = 256
_IMAGE_PARTICLES: Final = 1 << 18
_FILE_BLOCK_EVENTS: Final = 1024


class Batch(Protocol):
    """A run of events that can be cut."""

    def __len__(self) -> int:
        """Number of events."""
        ...

    def __getitem__(self, rows: slice, /) -> Self:
        """A run of its events."""
        ...


B = TypeVar("B", bound=Batch)
B_contra = TypeVar("B_contra", bound=Batch, contravariant=True)
M = TypeVar("M")
M_contra = TypeVar("M_contra", contravariant=True)


class Contents(Protocol[B, M_contra]):
    """What is written: batches of type B under metadata of type M."""

    name: str

    def concatenate(self, batches: Sequence[B], /) -> B:
        """One batch of all; of no batch, one without events."""
        ...

    def n_particles(self, batch: B, /) -> int:
        """What a batch holds, for cutting a stream into images."""
        ...

    def create(self, file: h5py.File, first: B, storage: Storage, /) -> None:
        """Make datasets without a row; sizes of chunks may suit the events given."""
        ...

    def append(self, file: h5py.File, batch: B, storage: Storage, /) -> None:
        """Add events at the end of the datasets."""
        ...

    def describe(self, file: h5py.File, meta: M_contra, /) -> None:
        """Set the root attributes, except for `complete`."""
        ...


class Writer(Protocol[B_contra, M]):
    """Where batches go. A context manager; meta may be replaced until the block ends."""

    meta: M

    def write(self, batch: B_contra) -> None:
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


def open_target(
    target: str | Path, contents: Contents[B, M], meta: M, storage: Storage | None = None
) -> Writer[B, M]:
    """Write to a file, or to standard output with "-".

    Standard output gets a stream, or one ordinary file where it is redirected to a plain file.
    A target that exists and is no plain file (a named pipe, a device) gets a stream too.

    Args:
        target: path, or "-".
        contents: what is written.
        meta: root attributes.
        storage: None is gzip 1 with checksums on disk, uncompressed in a stream.

    Raises:
        InputError: standard output is a terminal, or the target cannot be written.
    """
    if str(target) == STANDARD_OUTPUT:
        out = sys.stdout.buffer
        if out.isatty():
            raise InputError(
                f"standard output is a terminal and {contents.name} are binary: "
                "use -o FILE or a pipe"
            )
        if writes_a_stream(target):
            return StreamWriter(out, contents, meta, storage or ON_A_PIPE)
        return _RedirectedWriter(out, contents, meta, storage or ON_DISK)
    path = Path(target)
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected a file name")
    if writes_a_stream(target):
        return StreamWriter(path.open("wb"), contents, meta, storage or ON_A_PIPE)
    return _FileWriter(path, contents, meta, storage or ON_DISK)


def writes_a_stream(target: str | Path) -> bool:
    """Whether open_target would send a stream there, not make a file."""
    if str(target) == STANDARD_OUTPUT:
        return not stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)
    path = Path(target)
    return path.exists() and not path.is_file()


class _FileWriter(Generic[B, M]):
    """One file. What it does with HDF5 is never cut in two by a signal.

    HDF5 writes through `_Sink`, in Python: an exception that a signal raises there is lost, with a
    traceback, or leaves the library with half of what it wrote.
    """

    _permissions = 0o666  # less what the user's umask takes away

    def __init__(self, path: Path, contents: Contents[B, M], meta: M, storage: Storage) -> None:
        self.meta = meta
        self._contents = contents
        self._path = path
        self._part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        self._storage = storage
        self._buffer = _Buffer(contents)
        self._created = False
        self._undoing = ExitStack()

    def write(self, batch: B) -> None:
        self._buffer.add(batch)
        if self._buffer.n_events >= _FILE_BLOCK_EVENTS:
            with interrupts_held():
                self._flush()
                self._check_sink()

    def _check_sink(self) -> None:
        if self._sink.failure is not None:
            raise InputError(f"{self._path}: cannot write: {self._sink.failure.strerror}")

    def _flush(self) -> None:
        batch = self._buffer.take()
        if not self._created:
            self._contents.create(self._file, batch, self._storage)
            self._created = True
        self._contents.append(self._file, batch, self._storage)

    def _open(self) -> None:
        self._undoing.callback(self._part.unlink, missing_ok=True)
        try:
            self._sink = self._undoing.enter_context(_Sink(self._part, self._permissions))
        except OSError as error:
            raise InputError(f"{self._path}: cannot write: {error.strerror}") from None
        self._file = self._undoing.enter_context(h5py.File(self._sink, "w", libver=LIBVER))
        self._undoing.callback(self._sink.give_up)

    def _finish(self) -> None:
        self._flush()
        self._contents.describe(self._file, self.meta)
        self._file.attrs["complete"] = True
        self._file.close()
        self._check_sink()
        self._sink.close()

    def _publish(self) -> None:
        self._part.replace(self._path)

    def _undo(self) -> None:
        with interrupts_held():
            self._undoing.close()

    def __enter__(self) -> Self:
        try:
            with interrupts_held():
                self._open()
        except BaseException:  # a signal that was held, too
            self._undo()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                with interrupts_held():
                    self._finish()
                self._publish()
        finally:
            self._undo()


class _Sink(io.FileIO):
    """A file that takes note of a failed write and pretends that it went well.

    The HDF5 library crashes at exit when it could not write (a full disk); so it never hears of
    it, and whoever owns the sink looks at `failure`.
    """

    def __init__(self, path: Path, permissions: int) -> None:
        super().__init__(path, "x+", opener=lambda name, flags: os.open(name, flags, permissions))
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


class _RedirectedWriter(_FileWriter[B, M]):
    """One ordinary file on a standard output that is a plain file: `hi-mc ... > oo.h5`.

    HDF5 has to seek and to read while it writes, so the file is made elsewhere and copied.
    """

    _permissions = 0o600  # where it is made others can read

    def __init__(self, out: BinaryIO, contents: Contents[B, M], meta: M, storage: Storage) -> None:
        self._out = out
        super().__init__(Path(tempfile.gettempdir()) / "hitools", contents, meta, storage)

    def _publish(self) -> None:
        with self._part.open("rb") as made, writing_to(self._out):
            shutil.copyfileobj(made, self._out, 1 << 20)
            self._out.flush()


class StreamWriter(Generic[B, M]):
    """Images of 1, 2, 4, ... events up to 256: the first event arrives at once."""

    def __init__(self, out: BinaryIO, contents: Contents[B, M], meta: M, storage: Storage) -> None:
        """Write to out, which the caller opens and closes; see open_target."""
        self.meta = meta
        self._contents = contents
        self._images = ImageStreamWriter(out)
        self._storage = storage
        self._buffer = _Buffer(contents)
        self._events_per_image = 1

    def write(self, batch: B) -> None:
        """Append events."""
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
        self._contents.create(file, batch, self._storage)
        self._contents.append(file, batch, self._storage)
        self._contents.describe(file, self.meta)
        return len(batch)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Send what waits and the end marker, unless there was an exception."""
        if error is None:
            if self._buffer.n_events:
                self._images.write(self._fill)
            self._images.finish(self._fill)


class _Buffer(Generic[B]):
    """Batches that wait to be written together."""

    def __init__(self, contents: Contents[B, M]) -> None:
        self._contents = contents
        self._clear()

    def _clear(self) -> None:
        self._batches: list[B] = []
        self.n_events = 0
        self.n_particles = 0

    def add(self, batch: B) -> None:
        self._batches.append(batch)
        self.n_events += len(batch)
        self.n_particles += self._contents.n_particles(batch)

    def take(self) -> B:
        batch = self._contents.concatenate(self._batches)
        self._clear()
        return batch
