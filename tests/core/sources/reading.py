"""What the tests of all sources do: read an input to its end."""

from pathlib import Path

from hitools.core.batch import EventBatch
from hitools.core.format.faults import Fault
from hitools.core.format.meta import EventMeta
from hitools.core.sources.detect import open_source
from hitools.core.sources.foreign import InputOptions


def read_with_meta(path: Path, **options) -> tuple[EventBatch, EventMeta, list[Fault]]:
    """All good events, what is known of them, and what was wrong with the others."""
    found: list[Fault] = []
    source = open_source(str(path), InputOptions(**options), lambda _, fault: found.append(fault))
    try:
        return EventBatch.concatenate(list(source)), source.meta, found
    finally:
        source.close()


def read(path: Path, **options) -> tuple[EventBatch, list[Fault]]:
    """All good events, and what was wrong with the others."""
    batch, _, found = read_with_meta(path, **options)
    return batch, found
