"""Which events make an optimiser step, and which of them each process takes.

The order of events is a function of seed and epoch, and a step of the number of processes times
their batch, so two processes with half the batch take the steps of one with the whole.
"""

import numpy as np

from hitools.core.features import IntArray


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
