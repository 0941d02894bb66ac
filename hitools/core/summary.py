"""What a set of events looks like: counts, weights, and range, mean and quantiles per column.

Fed batch after batch in bounded memory; hi-info prints it.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.features import EVENT_UNITS, PARTICLE_UNITS, Float64Array

QUANTILES: Final = (0.05, 0.5, 0.95)
_KEPT_VALUES: Final = 1 << 20


@dataclass(frozen=True)
class ColumnSummary:
    """One column; weighted where the events are, NaN where there are no values.

    Attributes:
        name: of the column.
        unit: of every number here.
        minimum: smallest value.
        maximum: largest value.
        mean: average.
        std: standard deviation.
        quantiles: at QUANTILES, of up to half a million to a million values spread evenly.
    """

    name: str
    unit: str
    minimum: float
    maximum: float
    mean: float
    std: float
    quantiles: tuple[float, ...]


@dataclass(frozen=True)
class Summary:
    """Everything that hi-info tells of the events themselves.

    Attributes:
        n_events: number of events.
        n_particles: number of particles in all of them.
        weighted: whether the source stores weights.
        sum_weights: their sum.
        effective_events: (sum w)^2 / sum w^2, Kish's effective sample size.
        weight_range: smallest and largest weight.
        events: a summary per event column.
        particles: a summary per particle column.
    """

    n_events: int
    n_particles: int
    weighted: bool
    sum_weights: float
    effective_events: float
    weight_range: tuple[float, float]
    events: tuple[ColumnSummary, ...]
    particles: tuple[ColumnSummary, ...]


class SummaryAccumulator:
    """Add batches, then ask for the result."""

    def __init__(self) -> None:
        """Nothing seen yet."""
        self._events = ColumnMoments(len(EVENT_UNITS))
        self._particles = ColumnMoments(len(PARTICLE_UNITS))
        self._weighted = False
        self._weights = np.zeros(2)
        self._weight_range = (math.inf, -math.inf)

    def add(self, batch: EventBatch) -> None:
        """Take these events into account."""
        if not len(batch):
            return
        weights = batch.weights_or_ones.astype(np.float64)
        self._weighted |= batch.weights is not None
        self._weights += weights.sum(), (weights**2).sum()
        low, high = self._weight_range
        self._weight_range = (min(low, weights.min()), max(high, weights.max()))
        self._events.add(batch.events, weights)
        self._particles.add(batch.particles, np.repeat(weights, batch.n_particles))

    def result(self) -> Summary:
        """What was seen so far."""
        total, squares = self._weights
        return Summary(
            n_events=self._events.count,
            n_particles=self._particles.count,
            weighted=self._weighted,
            sum_weights=float(total),
            effective_events=float(total**2 / squares) if squares else 0.0,
            weight_range=self._weight_range if self._events.count else (math.nan, math.nan),
            events=self._events.summaries(EVENT_UNITS),
            particles=self._particles.summaries(PARTICLE_UNITS),
        )


class ColumnMoments:
    """Moments and an evenly thinned sample of the rows of a table that arrives in pieces."""

    def __init__(self, n_columns: int) -> None:
        """Nothing seen yet."""
        self.count = 0
        self._sum_weights = 0.0
        self._minimum = np.full(n_columns, np.inf)
        self._maximum = np.full(n_columns, -np.inf)
        self._mean = np.zeros(n_columns)
        self._spread = np.zeros(n_columns)  # sum of w (x - mean)^2
        self._stride = 1
        self._rows: list[np.ndarray] = []
        self._row_weights: list[np.ndarray] = []
        self._kept = 0

    def add(self, rows: np.ndarray, weights: Float64Array) -> None:
        """Take the next (n, n_columns) rows with their (n,) weights."""
        if not len(rows):
            return
        first = -self.count % self._stride
        self._rows.append(rows[first :: self._stride].copy())
        self._row_weights.append(weights[first :: self._stride])
        self._kept += len(self._rows[-1])
        self.count += len(rows)
        while self._kept > _KEPT_VALUES:
            self._thin()
        self._minimum = np.minimum(self._minimum, rows.min(axis=0))
        self._maximum = np.maximum(self._maximum, rows.max(axis=0))
        self._add_moments(rows.astype(np.float64), weights)

    def _add_moments(self, rows: Float64Array, weights: Float64Array) -> None:
        """Chan, Golub and LeVeque's pairwise update (Am. Stat. 37 (1983) 242)."""
        added = weights.sum()
        if added == 0:
            return
        mean = weights @ rows / added
        spread = weights @ (rows - mean) ** 2
        total = self._sum_weights + added
        shift = mean - self._mean
        self._spread += spread + shift**2 * self._sum_weights * added / total
        self._mean += shift * added / total
        self._sum_weights = total

    def _thin(self) -> None:
        """Keep every second of the kept rows."""
        rows, weights = np.concatenate(self._rows)[::2], np.concatenate(self._row_weights)[::2]
        self._rows, self._row_weights, self._kept = [rows], [weights], len(rows)
        self._stride *= 2

    def summaries(self, units: dict[str, str]) -> tuple[ColumnSummary, ...]:
        """One summary per column; units gives names and units in order."""
        if not self.count:
            nothing = (math.nan,) * 4
            return tuple(
                ColumnSummary(name, unit, *nothing, (math.nan,) * len(QUANTILES))
                for name, unit in units.items()
            )
        rows, weights = np.concatenate(self._rows), np.concatenate(self._row_weights)
        std = np.sqrt(self._spread / self._sum_weights) if self._sum_weights else self._spread * 0
        return tuple(
            ColumnSummary(
                name,
                unit,
                float(self._minimum[i]),
                float(self._maximum[i]),
                float(self._mean[i]),
                float(std[i]),
                weighted_quantiles(rows[:, i], weights),
            )
            for i, (name, unit) in enumerate(units.items())
        )


def weighted_quantiles(values: np.ndarray, weights: np.ndarray) -> tuple[float, ...]:
    """Values below which QUANTILES of the weight lie (inverse of the weighted distribution)."""
    if np.all(weights == weights[0]):
        return tuple(float(x) for x in np.quantile(values, QUANTILES))
    order = np.argsort(values)
    below = np.cumsum(weights[order], dtype=np.float64)
    at = np.searchsorted(below, np.array(QUANTILES) * below[-1])
    return tuple(float(x) for x in values[order][np.minimum(at, len(values) - 1)])
