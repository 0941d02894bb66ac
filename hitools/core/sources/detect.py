"""Opening any input that hi-prep understands: the format shows in the first bytes, not the name."""

import io
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self, cast

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.format import meta
from hitools.core.format.faults import FaultHandler, refuse
from hitools.core.format.images import SIGNATURE, STANDARD_INPUT, ImageSource
from hitools.core.sources.foreign import EventSource, InputOptions
from hitools.core.sources.hi import HiSource
from hitools.core.sources.jetnet import TableSource, is_table

log = logging.getLogger(__name__)

_ROOT_MAGIC: Final = b"root"


def open_source(
    where: str, options: InputOptions | None = None, on_fault: FaultHandler = refuse
) -> EventSource:
    """Open a file, a named pipe or, with "-", standard input.

    Args:
        where: event files and streams, HepMC2 and HepMC3 text (gzip'ed too), ROOT trees, tables
            of JetNet's and OmniLearn's layouts.
        options: what is wanted.
        on_fault: told of each bad event, which is then left out; raises by default.

    Raises:
        InputError: the input is missing, empty, damaged, or none of these.
    """
    options = options or InputOptions()
    stream, name = _open(where)
    try:
        return _recognise(where, stream, name, options, on_fault)
    except BaseException:
        if where != STANDARD_INPUT:
            stream.close()
        raise


def _recognise(
    where: str,
    stream: io.BufferedReader,
    name: str,
    options: InputOptions,
    on_fault: FaultHandler,
) -> EventSource:
    # A pipe may give one byte only; that tells HDF5 from text.
    start = stream.peek(1)
    if not start:
        raise InputError(f"{name}: empty, expected events")
    if start[:1] == SIGNATURE[:1]:
        return _open_hdf5(where, stream, options, on_fault)
    if start.startswith(_ROOT_MAGIC):
        from hitools.core.sources.root import RootSource

        if not Path(where).is_file():
            raise InputError(f"{name}: a ROOT file cannot be read from a pipe; name the file")
        stream.close()
        return RootSource(Path(where), options, on_fault)
    from hitools.core.sources.hepmc import HepMCSource

    return HepMCSource(stream, name, options, on_fault)


def _open(where: str) -> tuple[io.BufferedReader, str]:
    if where == STANDARD_INPUT:
        stream = sys.stdin.buffer
        if stream.isatty():
            raise InputError("standard input is a terminal: name a file, or pipe events in")
        return cast("io.BufferedReader", stream), "standard input"
    path = Path(where)
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected a file of events")
    try:
        return path.open("rb"), where
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None


def _open_hdf5(
    where: str, stream: io.BufferedReader, options: InputOptions, on_fault: FaultHandler
) -> EventSource:
    if where == STANDARD_INPUT:
        images = ImageSource(where)
    elif Path(where).is_file():
        stream.close()
        images = ImageSource(where)
    else:
        images = ImageSource(stream)  # a named pipe, which can be opened only once
    try:
        if is_table(images.first):
            return TableSource(images, options, on_fault)
        return HiSource(images, options, on_fault)
    except BaseException:
        images.close()
        raise


class Inputs:
    """Several inputs, of any formats, one after another as if they were one.

    Attributes:
        meta: merged over what was read so far; what the inputs disagree on is unknown.
        n_events: of all inputs, None where that is not known.
    """

    def __init__(
        self,
        names: Sequence[str],
        options: InputOptions | None = None,
        on_fault: FaultHandler = refuse,
    ) -> None:
        """Open the first input, and look whether the others are there. See open_source."""
        if list(names).count(STANDARD_INPUT) > 1:
            raise InputError("standard input can be read only once")
        for name in names:
            if name != STANDARD_INPUT and not Path(name).exists():
                raise InputError(f"{name}: No such file or directory")
        self._names = names
        self._options = options
        self._on_fault = on_fault
        self._current: EventSource | None = open_source(names[0], options, on_fault)
        self.meta = self._current.meta
        self.n_events = self._current.n_events if len(names) == 1 else None

    def __iter__(self) -> Iterator[EventBatch]:
        """The good events of all inputs."""
        before = None
        for name in self._names:
            source = self._current or open_source(name, self._options, self._on_fault)
            self._current = source
            if before is not None:
                for sentence in meta.disagreements(before, source.meta):
                    log.warning("%s: differs from what came before: %s", name, sentence)
            for batch in source:
                self.meta = source.meta if before is None else meta.merge(before, source.meta)
                yield batch
            self.meta = before = source.meta if before is None else meta.merge(before, source.meta)
            self.close()

    def close(self) -> None:
        """Close the input that is open."""
        if self._current is not None:
            self._current.close()
            self._current = None

    def __enter__(self) -> Self:
        """Enter; the first input is open already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()
