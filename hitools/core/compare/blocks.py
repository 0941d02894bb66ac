"""The same blocks of events from any source, so that sums come out the same to the last bit.

A file, a stream and a pipe cut the same events into different batches, and floating-point sums
depend on the cuts. Commands feed their accumulators through here.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from hitools.core.batch import EventBatch, runs_by_budget

BLOCK_PARTICLES: Final = 1 << 18


def steady_blocks(
    batches: Iterable[EventBatch], max_particles: int = BLOCK_PARTICLES
) -> Iterator[EventBatch]:
    """Cut the events anew: a block ends before the event that would exceed the budget.

    Args:
        batches: the events, cut in any way.
        max_particles: a block holds at most so many (a larger event stands alone).
    """
    waiting: list[EventBatch] = []
    n_waiting = 0
    for batch in batches:
        waiting.append(batch)
        n_waiting += len(batch.particles)
        if n_waiting <= max_particles:
            continue
        whole = EventBatch.concatenate(waiting)
        *complete, last = runs_by_budget(whole.offsets, max_particles)
        for rows in complete:
            yield whole[rows]
        waiting = [whole[last]]
        n_waiting = len(waiting[0].particles)
    if any(len(batch) for batch in waiting):
        yield EventBatch.concatenate(waiting)
