"""The same blocks of events from any source, so that sums come out the same to the last bit.

A file, a stream and a pipe cut the same events into different batches, and floating-point sums
depend on the cuts. Commands feed their accumulators through here.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from hitools.core.batch import EventBatch, runs_by_budget

BLOCK_PARTICLES: Final = 1 << 18


def steady_blocks(
    batches: Iterable[EventBatch],
    max_particles: int = BLOCK_PARTICLES,
    max_events: int | None = None,
) -> Iterator[EventBatch]:
    """Cut the events anew: a block ends before the event that would exceed the budget.

    Args:
        batches: the events, cut in any way.
        max_particles: a block holds at most so many (a larger event stands alone).
        max_events: and at most so many events, where given.
    """
    waiting: list[EventBatch] = []
    n_particles = n_events = 0
    for batch in batches:
        waiting.append(batch)
        n_particles += len(batch.particles)
        n_events += len(batch)
        if n_particles <= max_particles and (max_events is None or n_events <= max_events):
            continue
        whole = EventBatch.concatenate(waiting)
        *complete, last = runs_by_budget(whole.offsets, max_particles, max_events)
        for rows in complete:
            yield whole[rows]
        waiting = [whole[last]]
        n_particles, n_events = len(waiting[0].particles), len(waiting[0])
    if any(len(batch) for batch in waiting):
        yield EventBatch.concatenate(waiting)
