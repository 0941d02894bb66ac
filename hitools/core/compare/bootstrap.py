"""Uncertainties and floors of any statistic that is built from sums over events.

Events of a stream are dealt into 64 groups, sums are kept per group, and everything else
follows from these few sums: bootstrap replicas and jackknife errors by resampling groups,
floors by splitting the groups into halves. A group is a random subset of the events, so
particles of one event stay together and their correlations enter the error. The error itself
is known to about 1/sqrt(2 * 64), 9%. Cost and memory do not depend on the number of replicas.
"""

from typing import Final

import numpy as np

from hitools.core.features import BoolArray, Float64Array, FloatArray, IntArray
from hitools.core.hashing import hash_index

N_GROUPS: Final = 64

N_REPLICAS: Final = 100


def event_groups(first: int, n_events: int, seed: int = 0) -> IntArray:
    """The group of each of the events first, first + 1, ... of a stream.

    Depends on the event's index and the seed alone, not on how the stream was cut into
    batches. Of every 64 events in a row each group gets one, in an order that the hash
    rotates: groups are equally large, and a period in the file does not line up with them.

    Args:
        first: index of the first event in its stream.
        n_events: how many events.
        seed: changes the assignment.

    Returns:
        (n_events,) int64 in [0, 64).
    """
    index = np.arange(first, first + n_events, dtype=np.int64)
    rotation = (hash_index(index // N_GROUPS, seed) % np.uint64(N_GROUPS)).astype(np.int64)
    return (index + rotation) % N_GROUPS


def group_sums(per_event: FloatArray, groups: IntArray) -> Float64Array:
    """Sums over the events of each group: (n_events, ...) -> (64, ...) float64."""
    member = np.zeros((N_GROUPS, len(groups)))
    member[groups, np.arange(len(groups))] = 1
    flat = np.asarray(per_event, dtype=np.float64).reshape(len(groups), -1)
    return (member @ flat).reshape(N_GROUPS, *per_event.shape[1:])


def resampled_groups(n_replicas: int = N_REPLICAS, seed: int = 0) -> Float64Array:
    """(n_replicas, 64) how often each group is drawn in each bootstrap replica."""
    rng = np.random.default_rng([seed, 0xB0075])
    return rng.multinomial(N_GROUPS, np.full(N_GROUPS, 1 / N_GROUPS), n_replicas).astype(np.float64)


def half_splits(n_splits: int = 10, seed: int = 0) -> BoolArray:
    """(n_splits, 64) bool: random halves of the groups, 32 true and 32 false in each."""
    rng = np.random.default_rng([seed, 0x4A1F])
    return rng.permuted(np.tile(np.arange(N_GROUPS) % 2 == 0, (n_splits, 1)), axis=1)


def totals(sums: FloatArray, multiplicities: FloatArray | BoolArray) -> Float64Array:
    """Sums over groups with these multiplicities.

    Args:
        sums: (64, ...) sums per group.
        multiplicities: (n, 64) from resampled_groups or half_splits.

    Returns:
        (n, ...) float64.
    """
    return np.tensordot(np.asarray(multiplicities, dtype=np.float64), sums, axes=1)


def left_out(sums: FloatArray, filled: BoolArray) -> Float64Array:
    """Totals without one group, for each group that holds events.

    Args:
        sums: (64, ...) sums per group.
        filled: (64,) groups that hold events, g of them.

    Returns:
        (g, ...) float64.
    """
    return sums.sum(0) - np.asarray(sums[filled], dtype=np.float64)


def jackknife_error(values: FloatArray) -> Float64Array:
    """Standard error of a smooth statistic from its values with one group left out.

    sigma^2 = (g - 1)/g sum_k (theta_k - mean theta)^2 over g groups; NaN for fewer than two.

    Args:
        values: (g, ...) the statistic of left_out(...).
    """
    g = len(values)
    if g < 2:
        return np.full(values.shape[1:], np.nan)
    return np.sqrt((g - 1) / g * np.sum((values - values.mean(0)) ** 2, axis=0))


def spread(replicas: FloatArray) -> Float64Array:
    """Standard deviation over the first axis; NaN where over half of the replicas are undefined."""
    usable = np.isfinite(replicas)
    n = usable.sum(0)
    mean = np.where(usable, replicas, 0).sum(0) / np.maximum(n, 1)
    squares = np.where(usable, (replicas - mean) ** 2, 0).sum(0) / np.maximum(n - 1, 1)
    return np.where(n >= max(2, len(replicas) / 2), np.sqrt(squares), np.nan)


class EventLedger:
    """Deals the events of one stream into groups and keeps count of them.

    Attributes:
        n_events: events seen so far.
        sum_w: sum of their weights.
        sum_w2: sum of the squares of their weights.
    """

    def __init__(self, seed: int = 0) -> None:
        """Start at event 0 of the stream."""
        self.seed = seed
        self.n_events = 0
        self.sum_w = 0.0
        self.sum_w2 = 0.0

    def enter(self, weights: FloatArray) -> IntArray:
        """Count the next events of the stream; (n_events,) their groups."""
        groups = event_groups(self.n_events, len(weights), self.seed)
        self.n_events += len(weights)
        self.sum_w += float(np.sum(weights, dtype=np.float64))
        self.sum_w2 += float(np.sum(np.square(weights, dtype=np.float64)))
        return groups

    @property
    def effective(self) -> float:
        """(sum w)^2 / sum w^2: how many events of weight 1 carry the same statistics (Kish)."""
        return self.sum_w**2 / self.sum_w2 if self.sum_w2 > 0 else 0.0


def floor_scale(n_reference: float, n_sample: float) -> float:
    """Factor that turns a distance between halves of the reference into one of the real sizes.

    A distance between two samples of the same parent falls as sqrt(1/n + 1/m). Two halves of n
    events have sqrt(4/n); the comparison at hand has sqrt(1/n + 1/m). Without the factor a
    small sample looks bad against a large reference merely for being small.

    Args:
        n_reference: effective number of events of the reference.
        n_sample: effective number of events of the sample.
    """
    if n_reference <= 0 or n_sample <= 0:
        return float("nan")
    return float(np.sqrt((1 / n_reference + 1 / n_sample) * n_reference / 4))
