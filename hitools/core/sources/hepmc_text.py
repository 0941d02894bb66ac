"""HepMC text on its way to pyhepmc's reader, watched for what that reader passes over.

The reader takes a field that is no number for 0, a listing that breaks off between two events for
its end, and an error of the stream underneath likewise. It is much faster than anything that looks
at lines one by one in Python, so particle lines are checked by their shape: the line with every run
of digits as one 0. A few hundred shapes cover all lines of a file, and each is looked at once.
"""

import gzip
import io
import re
import zlib
from itertools import compress, count
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from hitools.core.errors import InputError
from hitools.core.format import faults
from hitools.core.format.faults import Fault

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Kind = Literal["hepmc2", "hepmc3"]

GZIP: Final = b"\x1f"
STARTS: Final[dict[bytes, Kind]] = {
    b"HepMC::Asciiv3-START_EVENT_LISTING": "hepmc3",
    b"HepMC::IO_GenEvent-START_EVENT_LISTING": "hepmc2",
}
_END: Final = b"-END_EVENT_LISTING"
_HEADER_BYTES: Final = 256
_TOLD_OF_A_LINE: Final = 90

_DIGITS: Final = bytes.maketrans(b"0123456789", b"0" * 10)
_WHOLE: Final = r"[+-]?0"
_REAL: Final = r"[+-]?(?:(?:0\.?0?|\.0)(?:[eE][+-]?0)?|(?i:nan|inf|infinity)(?:\(\w*\))?)"
_LINE_END: Final = r" ?\r?"
_PARTICLE: Final[dict[Kind, re.Pattern[bytes]]] = {
    # id, parent, PDG id, px, py, pz, E, m, status
    "hepmc3": re.compile(f"P(?: {_WHOLE}){{3}}(?: {_REAL}){{5}} {_WHOLE}{_LINE_END}".encode()),
    # barcode, PDG id, px, py, pz, E, m, status, two angles, vertex, flow: its length and pairs
    "hepmc2": re.compile(
        f"P(?: {_WHOLE}){{2}}(?: {_REAL}){{5}} {_WHOLE}(?: {_REAL}){{2}}(?: {_WHOLE}){{2,}}"
        f"{_LINE_END}".encode()
    ),
}
_TELLING: Final = {
    first: re.compile(f"{pattern}{_LINE_END}".encode())
    for first, pattern in (
        (b"E", f"E(?: @)?(?: {_REAL})+(?: @(?: {_REAL})+)?"),
        (b"W", f"W(?: {_REAL})+"),
        (b"U", "U (?:GEV|MEV) (?:MM|CM)"),
        (b"H", f"H(?: {_REAL})+"),
        (b"A", rf"A 0 GenHeavyIon v\S+(?: {_REAL})+"),
    )
}
"""Shapes of the lines of an event that tell its weight, unit and geometry."""

_EXPECTED: Final = {b"P": "a particle's numbers", b"U": "GEV or MEV, MM or CM"}
_HEAVY_ION: Final = b"A 0 GenHeavyIon "
_START_SHAPES: Final = {line.translate(_DIGITS): kind for line, kind in STARTS.items()}
_LEFT_OUT: Final = b"\xff"
_MOST_SHAPES: Final = 1 << 16


class WatchedText(io.RawIOBase):
    """The decompressed text, as a stream to be read.

    Attributes:
        kind: the version of the listing that the text begins with, None where it begins with none.
        faults: what is wrong with events whose text has passed, by their index.
        n_begun: events whose first line has passed.
        at_end: whether all text has passed.
        is_open: whether the last listing that began has not ended.
    """

    def __init__(self, stream: io.BufferedReader) -> None:
        """Look at the header; stream stands at the first byte, compressed or not."""
        compressed = stream.peek(1)[:1] == GZIP
        self._stream = gzip.GzipFile(fileobj=stream) if compressed else stream
        self._error: str | None = None
        self._breaks_off = False
        self._refused: tuple[int, str] | None = None
        self.n_begun = 0
        self.at_end = False
        self.is_open = False
        self.faults: dict[int, Fault] = {}
        self._begun_in_listing = 0
        self._lines = 0
        self._unfinished = b""
        self._last_line = b""
        self._shapes = _Shapes()
        self._dull: set[bytes] = set()
        self.header = b""
        while len(self.header) < _HEADER_BYTES and (piece := self._read(_HEADER_BYTES)):
            self.header += piece
        self._ahead = self.header
        kinds = [kind for line, kind in STARTS.items() if line in self.header]
        self.kind: Kind | None = kinds[0] if kinds else None

    def _read(self, size: int) -> bytes:
        try:
            return self._stream.read1(size)
        except EOFError:
            self._breaks_off = True
        except (OSError, zlib.error) as error:
            self._error = str(error)
        return b""

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """The next piece of text, which is looked at first."""
        view = memoryview(buffer).cast("B")
        piece, self._ahead = self._ahead[: len(view)], self._ahead[len(view) :]
        piece = piece or self._read(len(view))
        view[: len(piece)] = piece
        if piece:
            text = self._unfinished + piece
            whole = text.rfind(b"\n") + 1
            self._unfinished = text[whole:]
            self._watch(text[:whole])
        elif not self.at_end:
            self.at_end = True
            self._watch_end()
        return len(piece)

    def raise_error(self, where: str) -> None:
        """InputError for whatever went wrong with the bytes themselves.

        Compressed data that break off in the middle of a listing are left to the missing end of
        that listing: its events up to there are good.
        """
        error = self._error
        if error is None and self._breaks_off and not self.is_open:
            error = "its compressed data break off"
        if error is not None:
            raise InputError(f"{where}: cannot be read on: {error}")

    def raise_refused(self, where: str, event: int) -> None:
        """InputError where the listings are not in order, up to this event."""
        if self._refused is not None and self._refused[0] <= event:
            raise InputError(f"{where}: {self._refused[1]}")

    # What passes -------------------------------------------------------------------------

    def _watch(self, text: bytes) -> None:
        """Look at whole lines."""
        shapes = self._shapes(text)
        new = set(shapes) - self._dull
        if len(self._dull) > _MOST_SHAPES:
            self._dull.clear()
        self._dull |= {shape for shape in new if self._is_dull(shape)}
        telling = new - self._dull
        for row in compress(count(), map(telling.__contains__, shapes)) if telling else ():
            if not self._understand(shapes[row], self._lines + row + 1):
                self._note(self._lines + row + 1, text.split(b"\n")[row])
        self._lines += len(shapes) - 1
        self._last_line = text[-_TOLD_OF_A_LINE:].rstrip() or self._last_line

    def _is_dull(self, shape: bytes) -> bool:
        """Whether lines of this shape need not be looked at one by one."""
        first = shape[:1]
        if first == b"E":
            return False
        if first == b"P":
            return self.kind is None or bool(_PARTICLE[self.kind].fullmatch(shape))
        if first == b"A" and not shape.startswith(_HEAVY_ION):
            return True
        return first not in _TELLING or bool(_TELLING[first].fullmatch(shape))

    def _understand(self, shape: bytes, number: int) -> bool:
        """Follow a line that is not dull; False where it is not as it should be."""
        first = shape[:1]
        if shape.startswith(b"HepMC::"):
            self._follow_listing(shape, number)
            return True
        if first == b"E":
            if not self.is_open:
                self._refuse(f"line {number}: an event after the end of its listing")
            self.n_begun += 1
            self._begun_in_listing += 1
        elif not self._begun_in_listing:
            return True  # the names of the weights
        return first == b"E" and bool(_TELLING[first].fullmatch(shape))

    def _follow_listing(self, shape: bytes, number: int) -> None:
        kind = _START_SHAPES.get(shape.strip())
        if kind is not None:
            if self.is_open and self._begun_in_listing:
                self._note_cut_off(number)
            elif self.is_open:
                self._refuse(f"line {number}: the listing before it did not end")
            if kind != self.kind:
                self._refuse(f"line {number}: a listing of another version than the first one")
            self.is_open = True
            self._begun_in_listing = 0
        elif shape.strip().endswith(_END):
            self.is_open = False

    def _watch_end(self) -> None:
        """The text ends, maybe inside a line."""
        line, self._unfinished = self._unfinished, b""
        if line.startswith(b"HepMC::"):
            self._follow_listing(self._shapes(line)[0], self._lines + 1)
        self.n_begun += line.startswith(b"E ")
        self._last_line = line.strip() or self._last_line
        if not self.is_open and not self._last_line.endswith(_END):
            self._refuse("something follows the end of the listing")

    def _note(self, number: int, line: bytes) -> None:
        event = max(self.n_begun - 1, 0)
        told = line[:_TOLD_OF_A_LINE].decode("ascii", "backslashreplace").strip()
        expected = _EXPECTED.get(line[:1], "numbers")
        detail = f"line {number} is {told!r}, expected {expected}"
        self.faults.setdefault(event, Fault(event, faults.NO_NUMBER, detail))

    def _note_cut_off(self, number: int) -> None:
        event = self.n_begun - 1
        detail = f"line {number}: a listing begins, but the one before has no END_EVENT_LISTING"
        self.faults[event] = Fault(event, faults.CUT_OFF, detail)

    def _refuse(self, sentence: str) -> None:
        if self._refused is None:
            self._refused = self.n_begun, sentence


class _Shapes:
    """Of each line of a text, every run of digits as one 0.

    The memory that this takes is kept: asking for it again would take as long as the work.
    """

    def __init__(self) -> None:
        self._memory = np.empty((2, 0), np.uint8)

    def __call__(self, text: bytes) -> list[bytes]:
        if _LEFT_OUT in text:
            text = text.replace(_LEFT_OUT, b"?")
        characters = np.frombuffer(text, np.uint8)
        if len(text) > self._memory.shape[1]:
            self._memory = np.empty((2, 2 * len(text)), np.uint8)
        shape, digit = self._memory[:, : len(text)]
        np.subtract(characters, ord("0"), out=shape)
        np.less(shape, 10, out=digit.view(np.bool_))
        np.bitwise_and(digit[1:], digit[:-1], out=shape[1:])
        np.negative(shape[1:], out=shape[1:])
        shape[:1] = 0
        np.bitwise_or(shape, characters, out=shape)
        return shape.tobytes().translate(_DIGITS, _LEFT_OUT).split(b"\n")
