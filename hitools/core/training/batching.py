"""Which events make an optimiser step, and how a step is cut into passes that fit in memory.

The order of events is a function of seed and epoch, and a step of the number of processes times
their batch, so two processes with half the batch take the steps of one with the whole.
"""

from typing import Final

import numpy as np

from hitools.core.features import IntArray

MAX_PADDING: Final = 0.1
"""Largest share of padded slots among all slots of a step."""


def epoch_order(n_events: int, seed: int, epoch: int) -> IntArray:
    """A random permutation of 0..n_events-1 for this epoch."""
    return np.random.default_rng([seed, epoch]).permutation(n_events)


def share_of(n_particles: IntArray, process: int, n_processes: int) -> IntArray:
    """Which events of a step one process takes: as many particles as the others, nearly.

    The events are dealt by length, forwards and backwards in turn.

    Args:
        n_particles: (n_events,) particles of the events of the step.
        process: 0..n_processes-1.
        n_processes: how many share the step.

    Returns:
        Positions in the step, longest event first.
    """
    by_length = np.argsort(-n_particles, kind="stable")
    place = np.arange(len(by_length)) % (2 * n_processes)
    dealt = np.minimum(place, 2 * n_processes - 1 - place)
    return by_length[dealt == process]


def passes(n_particles: IntArray, budget: int, max_padding: float = MAX_PADDING) -> list[slice]:
    """Cut events, longest first, into few passes of similar length.

    A pass of n events costs n times its longest event. Among the ways to cut, the one with the
    fewest slots is found when each pass costs a fixed number of slots more; the largest such
    number that keeps to max_padding wins.

    Args:
        n_particles: (n_events,) particles, falling.
        budget: most slots of a pass; an event above it is a pass of its own.
        max_padding: most padded slots as a share of all.

    Returns:
        Runs of events that cover all of them in order.
    """
    if not len(n_particles):
        return []
    total = max(int(n_particles.sum()), 1)
    toll = float(total)
    while True:
        runs = _cheapest_cut(n_particles, budget, toll)
        slots = sum(int(n_particles[run.start]) * (run.stop - run.start) for run in runs)
        if slots - total <= max_padding * slots or toll < 1:
            return runs
        toll /= 2


def _cheapest_cut(n_particles: IntArray, budget: int, toll: float) -> list[slice]:
    """The cut with the least slots plus toll per pass, by dynamic programming over its end."""
    n_events = len(n_particles)
    cost = np.full(n_events + 1, np.inf)
    cost[0] = 0
    came_from = np.zeros(n_events + 1, np.int64)
    for stop in range(1, n_events + 1):
        slots = n_particles[:stop] * np.arange(stop, 0, -1)
        fits = slots <= budget
        fits[-1] = True
        candidates = np.where(fits, cost[:stop] + slots + toll, np.inf)
        came_from[stop] = np.argmin(candidates)
        cost[stop] = candidates[came_from[stop]]
    runs = []
    stop = n_events
    while stop:
        runs.append(slice(int(came_from[stop]), stop))
        stop = int(came_from[stop])
    return runs[::-1]
