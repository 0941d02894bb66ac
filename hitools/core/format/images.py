"""Streams: concatenations of complete HDF5 file images, and how to take them apart.

HDF5 cannot be read from a pipe, but every image says in its superblock where it ends. The images
of one stream carry `continues`, their index; a last image without events holds the counts and a
checksum of all bytes before it, so that an upstream that died is noticed. An image without
`continues` is an ordinary file and stands alone. Events and jets travel the same way.
"""

import io
import os
import stat
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, BinaryIO, Final

import h5py
import numpy as np
from isal import igzip_lib

from hitools.core.errors import InputError

STANDARD_INPUT: Final = "-"
SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
LIBVER: Final = ("v110", "v110")
_SUPERBLOCK_BYTES: Final = 56
_SPOOL_BYTES: Final = 64 << 20
"""Larger images (ordinary files sent through a pipe) wait on disk, not in memory."""
_UNPACKING: Final[type[Exception]] = igzip_lib.IsalError  # type: ignore[assignment]  # a stub
_NO_MARKER: Final = "the stream ends without its end marker (did its writer die?)"


def image_length(header: bytes, where: str) -> int:
    """Length in bytes of the HDF5 image that begins with these 56 bytes.

    It is the end-of-file address of the superblock: HDF5 File Format Specification, section II.A.

    Raises InputError where this is no HDF5 superblock of version 0 to 3.
    """
    if header[:8] != SIGNATURE:
        raise InputError(f"{where}: not an HDF5 event file or stream (begins with {header[:8]!r})")
    version = header[8]
    address_at = {0: 24, 1: 28, 2: 12, 3: 12}.get(version)
    if address_at is None:
        raise InputError(f"{where}: HDF5 superblock version {version}, expected 0 to 3")
    offset_size = header[13] if version < 2 else header[9]
    base, _, end = struct.unpack_from("<3Q", header, address_at)
    if offset_size != 8 or base != 0 or end <= _SUPERBLOCK_BYTES:
        raise InputError(f"{where}: HDF5 superblock with a user block or odd address size")
    return int(end)


class Image(h5py.File):
    """An HDF5 image that is open for reading, and whose bytes can be had directly as well."""

    def __init__(self, raw: IO[bytes], where: str, path: Path | None = None) -> None:
        """Open; raises InputError where HDF5 cannot.

        Args:
            raw: the image, in memory or a file, which stays open for as long as this.
            where: its name, for messages.
            path: of the same file, where there is one: HDF5 reads faster from that.
        """
        self._raw = raw
        try:
            super().__init__(raw if path is None else path, "r")
        except OSError as error:
            raise InputError(f"{where}: HDF5 cannot open it: {error}") from None

    def bytes_at(self, address: int, size: int) -> bytes:
        """These bytes of the image; ValueError where it ends before."""
        if isinstance(self._raw, io.BytesIO):
            with self._raw.getbuffer() as memory:
                data = bytes(memory[address : address + size])
        else:
            # Whatever a damaged file claims, no more is asked for than there is.
            left = os.fstat(self._raw.fileno()).st_size - address
            data = os.pread(self._raw.fileno(), min(size, max(left, 0)), address)
        if len(data) < size:
            raise ValueError(f"{size} bytes at {address} lie past its end")
        return data


@contextmanager
def damage_told(where: str) -> Iterator[None]:
    """Whatever HDF5 says of damaged bytes becomes an InputError that names the place."""
    try:
        yield
    except (
        OSError,
        RuntimeError,
        KeyError,
        ValueError,
        TypeError,
        OverflowError,
        _UNPACKING,
    ) as error:
        raise InputError(f"{where}: damaged: {error}") from None


@contextmanager
def writing_to(out: BinaryIO) -> Iterator[None]:
    """A failed write (a full disk) becomes an InputError that names where to; a closed pipe not."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        name = "standard output" if out is sys.stdout.buffer else getattr(out, "name", "output")
        raise InputError(f"{name}: cannot write: {error.strerror}") from None


def count_events(file: h5py.File) -> int:
    """Every format of ours has a dataset `events` with one row per event."""
    events = file.get("events")
    return len(events) if isinstance(events, h5py.Dataset) else 0


def iter_images(stream: BinaryIO, where: str) -> Generator[Image]:
    """The images of a concatenation of streams and files, in order, each open for reading.

    An image is closed when the next one is asked for. An end marker is checked and yielded like
    any image without events.

    Args:
        stream: read from its current position to its end.
        where: its name, for messages.

    Raises:
        InputError: empty input; something that is not HDF5; an end inside an image, without an
            end marker, or with an image missing; a checksum that differs.
    """
    events = images = 0  # of everything that arrived
    index = checksum = stream_events = 0  # of the stream that we are in; index 0 between streams

    def place() -> str:
        return f"{where}: after {events} events in {images} images"

    while header := read_exactly(stream, _SUPERBLOCK_BYTES):
        if len(header) < _SUPERBLOCK_BYTES:
            raise InputError(f"{place()}: the stream ends inside an image")
        length = image_length(header, place() if images else where)
        body, body_checksum = _read_body(stream, header, length, checksum, place())
        with body, Image(body, place()) as file:
            with damage_told(place()):
                count = count_events(file)
                continues = _piece(file, place())
                is_end = continues is not None and bool(file.attrs.get("stream_end", False))
            if continues is None and index:
                raise InputError(f"{place()}: {_NO_MARKER}")
            if continues is not None and continues != index:
                raise InputError(
                    f"{place()}: piece {index} of the stream expected, piece {continues} found"
                )
            if is_end:
                _check_marker(file, checksum, stream_events, place())
                index = checksum = stream_events = 0
            elif continues is not None:
                index += 1
                checksum = body_checksum
                stream_events += count
            yield file
            events += count
            images += 1
    if index:
        raise InputError(f"{place()}: {_NO_MARKER}")
    if not images:
        raise InputError(f"{where}: empty, expected an HDF5 event file or stream")


def _piece(file: h5py.File, where: str) -> int | None:
    """Index of an image in its stream; None where it stands alone."""
    continues = file.attrs.get("continues")
    if continues is None:
        return None
    # Anything else that h5py may return (text, an array, Empty) cannot be compared with an index.
    if not isinstance(continues, int | np.integer):
        raise InputError(f"{where}: attribute continues is {continues!r}, expected a whole number")
    return int(continues)


def read_exactly(stream: BinaryIO, size: int) -> bytes:
    """Up to size bytes; fewer only where the stream ends (a pipe may give them in pieces)."""
    pieces = []
    while size > 0 and (piece := stream.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _read_body(
    stream: BinaryIO, header: bytes, length: int, checksum: int, where: str
) -> tuple[IO[bytes], int]:
    """The whole image as a file in memory or on disk, and the checksum carried over its bytes."""
    body: IO[bytes] = io.BytesIO() if length <= _SPOOL_BYTES else tempfile.TemporaryFile()  # noqa: SIM115
    piece = header
    left = length
    while piece:
        body.write(piece)
        checksum = zlib.crc32(piece, checksum)
        left -= len(piece)
        piece = stream.read(min(left, 1 << 20)) if left else b""
    if left:
        body.close()
        raise InputError(f"{where}: the stream ends inside an image")
    body.seek(0)
    return body, checksum


def _check_marker(file: h5py.File, checksum: int, events: int, where: str) -> None:
    with damage_told(where):
        claimed, expected = int(file.attrs["n_events"]), int(file.attrs["checksum"])
    if claimed != events:
        raise InputError(f"{where}: the end marker counts {claimed} events, {events} arrived")
    if expected != checksum:
        raise InputError(f"{where}: the checksum of the stream differs: its bytes were damaged")


class ImageSource:
    """A path or standard input as a sequence of open HDF5 images, the first one at hand.

    What the images hold (events, jets) is for the reader on top to say.

    Attributes:
        name: for messages.
        first: the first image.
        is_file: whether it is one ordinary file, in which any row can be reached.
    """

    def __init__(self, source: str | Path | BinaryIO) -> None:
        """Open; raises InputError where it is missing, empty, cut off or not HDF5.

        A stream (a pipe that was looked at already) is read from where it stands.
        """
        if isinstance(source, str | Path):
            self.name = "standard input" if str(source) == STANDARD_INPUT else str(source)
        else:
            self.name = source.name
        self.is_file = False
        self._closing = ExitStack()
        try:
            self._images = self._open(source)
            self.first: Image = next(self._images)
        except BaseException:
            self._closing.close()
            raise

    def _open(self, source: str | Path | BinaryIO) -> Iterator[Image]:
        stream: BinaryIO
        path = None
        if not isinstance(source, str | Path):
            stream = self._closing.enter_context(source)
        elif str(source) == STANDARD_INPUT:
            stream = sys.stdin.buffer
            if stream.isatty():
                raise InputError("standard input is a terminal: name a file, or pipe events in")
            self.is_file = _is_one_image(stream)
        else:
            path = Path(source)
            if path.is_dir():
                raise InputError(f"{path}: is a folder, expected an event file")
            try:
                stream = self._closing.enter_context(path.open("rb"))
            except OSError as error:
                raise InputError(f"{path}: {error.strerror}") from None
            self.is_file = path.is_file() and _is_one_image(stream)
        if self.is_file:
            image = self._closing.enter_context(Image(stream, self.name, path))
            with damage_told(self.name):
                stands_alone = "continues" not in image.attrs
            if stands_alone:
                return iter([image])
            self.is_file = False  # the first piece of a stream, and all that there is
            stream.seek(0)
        images = iter_images(stream, self.name)
        self._closing.callback(images.close)
        return images

    def __iter__(self) -> Iterator[Image]:
        """All images, the first one included; each is closed when the next one is asked for."""
        yield self.first
        yield from self._images

    def close(self) -> None:
        """Close everything."""
        self._closing.close()


def _is_one_image(stream: BinaryIO) -> bool:
    """Whether it is a plain file, at its start, that holds one image and nothing more.

    Raises InputError where the image is longer than the file.
    """
    status = os.fstat(stream.fileno())
    if not stat.S_ISREG(status.st_mode) or stream.tell() != 0 or status.st_size == 0:
        return False
    header = stream.read(_SUPERBLOCK_BYTES)
    stream.seek(0)
    length = image_length(header.ljust(_SUPERBLOCK_BYTES, b"\0"), stream.name)
    if length > status.st_size:
        raise InputError(f"{stream.name}: truncated: {status.st_size} bytes of {length}")
    return length == status.st_size


class ImageStreamWriter:
    """Writes images with their index, and the end marker."""

    def __init__(self, raw: BinaryIO) -> None:
        """Write to raw, which the caller opens and closes."""
        self._raw = raw
        self._index = 0
        self._checksum = 0
        self._events = 0

    def write(self, fill: Callable[[h5py.File], int]) -> None:
        """Make one image by `fill`, which returns how many events it put there, and send it."""
        self._send(fill, end=False)

    def finish(self, fill: Callable[[h5py.File], int]) -> None:
        """Send the end marker; `fill` writes the same datasets without a row."""
        self._send(fill, end=True)

    def _send(self, fill: Callable[[h5py.File], int], *, end: bool) -> None:
        image = io.BytesIO()
        with h5py.File(image, "w", libver=LIBVER) as file:
            file.attrs["continues"] = self._index
            if end:
                file.attrs["stream_end"] = True
                file.attrs["n_events"] = self._events
                file.attrs["checksum"] = self._checksum
            self._events += fill(file)
            file.attrs["complete"] = True
        data = image.getbuffer()
        self._checksum = zlib.crc32(data, self._checksum)
        self._index += 1
        with writing_to(self._raw):
            self._raw.write(data)
            self._raw.flush()
