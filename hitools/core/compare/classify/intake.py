"""Taking events in for a classifier: a bounded random subset, and no event on both sides.

An event that stands in both inputs would be learnt by heart in one part and recognised in
another; the test would then measure nothing. All events are checked, also those that the subset
leaves out.
"""

from typing import Final

import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.features import IntArray
from hitools.core.hashing import UInt64Array, event_fingerprints, hash_index

MIN_EVENTS: Final = 100
"""Below it the test part has less than 15 events a class."""


class Intake:
    """Keeps at most max_events of all events that are added, a random subset of them.

    Which events are kept depends on the seed and on their index alone.
    """

    def __init__(self, max_events: int, seed: int) -> None:
        """Hold up to twice max_events while reading."""
        self._max_events = max_events
        self._seed = seed
        self._kept: list[EventBatch] = []
        self._keys: list[UInt64Array] = []
        self._fingerprints: list[UInt64Array] = []
        self._n_kept = 0
        self.n_events = 0

    def add(self, batch: EventBatch) -> None:
        """Take the next events of the input."""
        keys = hash_index(np.arange(self.n_events, self.n_events + len(batch)), self._seed)
        self._fingerprints.append(event_fingerprints(batch))
        self._kept.append(batch)
        self._keys.append(keys)
        self._n_kept += len(batch)
        self.n_events += len(batch)
        if self._n_kept > 2 * self._max_events:
            self._thin()

    def _thin(self) -> None:
        batch, keys = EventBatch.concatenate(self._kept), np.concatenate(self._keys)
        if len(batch) > self._max_events:
            chosen = np.sort(np.argpartition(keys, self._max_events - 1)[: self._max_events])
            batch, keys = batch.take(chosen), keys[chosen]
        self._kept, self._keys, self._n_kept = [batch], [keys], len(batch)

    def batch(self) -> EventBatch:
        """The subset, in the order of the input."""
        if self.n_events:
            self._thin()
        return EventBatch.concatenate(self._kept)

    def fingerprints(self) -> UInt64Array:
        """(n_events,) of every event that was added."""
        return np.concatenate([np.zeros(0, np.uint64), *self._fingerprints])


def require_enough(n_events: int, name: str, *, halved: bool = False) -> None:
    """Raise InputError where there are too few events (halved: where two halves are needed)."""
    least = 2 * MIN_EVENTS if halved else MIN_EVENTS
    if n_events < least:
        raise InputError(f"{name}: {n_events} events; a classifier test needs at least {least}")


def require_disjoint(
    reference: UInt64Array, sample: UInt64Array, reference_name: str, sample_name: str
) -> None:
    """Raise InputError where an event (the same particles) is in both inputs.

    Args:
        reference: (n,) fingerprints of all events of the reference.
        sample: (m,) of the sample.
        reference_name: for the message.
        sample_name: for the message.
    """
    shared = np.isin(sample, reference[reference != 0])
    if shared.any():
        j = int(np.argmax(shared))
        i = int(np.argmax(reference == sample[j]))
        raise InputError(
            f"{sample_name}: {int(shared.sum())} of {len(sample)} events are also in "
            f"{reference_name} (event {j} is its event {i}); "
            "a classifier test needs independent samples"
        )


def n_repeated(fingerprints: UInt64Array) -> int:
    """How many events have the same particles as an earlier one of the same input."""
    filled = fingerprints[fingerprints != 0]
    return len(filled) - len(np.unique(filled))


def halves(n_events: int, n_second: int, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Two disjoint random sets of events: n // 2 of them, and of the rest at most n_second."""
    order = rng.permutation(n_events)
    middle = n_events // 2
    return np.sort(order[:middle]), np.sort(order[middle:][:n_second])
