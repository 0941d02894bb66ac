"""Shuffling more events than fit in memory: scatter to files on disk, then sort each.

An event's key depends on the seed and its index alone, and events leave in order of their keys:
the result does not depend on how many buckets there were.
"""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.format.layout import Storage
from hitools.core.format.meta import EventMeta
from hitools.core.format.reader import open_events
from hitools.core.format.writer import open_writer

_BUCKETS: Final = 64
_UNCOMPRESSED: Final = Storage(gzip=0, checksum=False)


def shuffled(batches: Iterable[EventBatch], seed: int) -> Iterator[EventBatch]:
    """The same events in random order.

    Memory holds about a 64th of the events at a time; the disk (the folder for temporary files)
    holds all of them meanwhile.
    """
    with tempfile.TemporaryDirectory(prefix="hitools-shuffle-") as folder, ExitStack() as stack:
        paths = [Path(folder) / f"{bucket}.h5" for bucket in range(_BUCKETS)]
        keys: list[list[np.ndarray]] = [[] for _ in paths]
        with ExitStack() as writing:
            writers = [
                writing.enter_context(open_writer(path, EventMeta(), _UNCOMPRESSED))
                for path in paths
            ]
            first = 0
            for batch in batches:
                key = _keys(seed, first, len(batch))
                first += len(batch)
                bucket = (key * _BUCKETS).astype(np.int64)
                for chosen in np.unique(bucket):
                    rows = np.flatnonzero(bucket == chosen)
                    writers[chosen].write(batch.take(rows))
                    keys[chosen].append(key[rows])
        for path, bucket_keys in zip(paths, keys, strict=True):
            if bucket_keys:
                reader = stack.enter_context(open_events(path))
                whole = EventBatch.concatenate(list(reader))
                yield whole.take(np.argsort(np.concatenate(bucket_keys)))


def _keys(seed: int, first: int, count: int) -> np.ndarray:
    """(count,) uniform numbers in [0, 1) that belong to events first, first + 1, ..."""
    stream = np.random.Philox(seed)
    stream.advance(first // 4)
    raw = np.random.Generator(stream).random(count + first % 4)
    return raw[first % 4 :]
