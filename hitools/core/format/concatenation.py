"""Several event sources read one after another as if they were one."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.format import meta
from hitools.core.format.images import STANDARD_INPUT
from hitools.core.format.reader import EventReader, open_events

log = logging.getLogger(__name__)


class Concatenation:
    """Iterates over the events of all sources in order; a context manager like EventReader.

    Attributes:
        meta: merged over what was read so far; what the sources disagree on is unknown.
        n_events: of all sources, None where one of them is a stream.
    """

    def __init__(self, sources: Sequence[str]) -> None:
        """Open the first source, and look at every file, so that a missing one is told at once."""
        if list(sources).count(STANDARD_INPUT) > 1:
            raise InputError("standard input can be read only once")
        self._sources = sources
        counts = [_peek(source) for source in sources[1:]]
        self._open: EventReader | None = open_events(sources[0])
        counts.append(self._open.n_events)
        self.meta = self._open.meta
        known = [count for count in counts if count is not None]
        self.n_events = sum(known) if len(known) == len(counts) else None

    def __iter__(self) -> Iterator[EventBatch]:
        """All events."""
        before = self.meta
        for source in self._sources:
            if self._open is None:
                self._open = open_events(source)
                for sentence in meta.disagreements(before, self._open.meta):
                    log.warning("%s: differs from what came before: %s", source, sentence)
            reader = self._open
            for batch in reader:
                self.meta = meta.merge(before, reader.meta)
                yield batch
            self.meta = before = meta.merge(before, reader.meta)
            self.close()

    def close(self) -> None:
        """Close the source that is open."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def __enter__(self) -> Self:
        """Enter; the first source is open already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()


def _peek(source: str) -> int | None:
    """How many events a plain file holds; None for a pipe, which looking at would consume."""
    if source == STANDARD_INPUT or (Path(source).exists() and not Path(source).is_file()):
        return None
    with open_events(source) as events:
        return events.n_events
