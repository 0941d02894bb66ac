"""Picking events by their place in a sequence of batches: what hi-cat's options mean."""

from collections.abc import Iterable, Iterator

import numpy as np

from hitools.core.batch import EventBatch


def every(
    batches: Iterable[EventBatch], start: int = 0, stop: int | None = None, step: int = 1
) -> Iterator[EventBatch]:
    """Events start, start + step, ... below stop, counted over all batches.

    Reading ends as soon as stop is reached, so that an endless stream can be cut.
    """
    first = 0
    if stop is not None and stop <= start:
        return
    for batch in batches:
        begin = max(start - first, 0)
        if begin > 0 or step > 1:
            begin = start + -(-(max(first, start) - start) // step) * step - first
        end = len(batch) if stop is None else min(stop - first, len(batch))
        if begin < end:
            whole = begin == 0 and end == len(batch) and step == 1
            # No longer than the batch, as a number past 64 bits is none to numpy.
            places = np.arange(begin, end, min(step, len(batch)))
            yield batch if whole else batch.take(places)
        first += len(batch)
        if stop is not None and first >= stop:
            return
