"""What a set of jets looks like, column by column; hi-info prints it."""

from dataclasses import dataclass

import numpy as np

from hitools.core.observables.jets.table import EVENT_UNITS, JET_UNITS, JetBatch, Table
from hitools.core.summary import ColumnMoments, ColumnSummary

_INDEX = "event"


@dataclass(frozen=True)
class JetOverview:
    """Counts, weights and a summary per column, weighted by the event weights.

    Attributes:
        n_events: number of events.
        n_jets: number of jets in all of them.
        sum_weights: sum of the weights of events.
        effective_events: (sum w)^2 / sum w^2.
        events: a summary per column of the events.
        jets: a summary per column of the jets, over those jets that have a value.
    """

    n_events: int
    n_jets: int
    sum_weights: float
    effective_events: float
    events: tuple[ColumnSummary, ...]
    jets: tuple[ColumnSummary, ...]


class JetOverviewAccumulator:
    """Add batches, then ask for the result."""

    def __init__(self) -> None:
        """Nothing seen yet."""
        self._n_events = self._n_jets = 0
        self._weights = np.zeros(2)
        self._events: dict[str, ColumnMoments] = {}
        self._jets: dict[str, ColumnMoments] = {}

    def add(self, batch: JetBatch) -> None:
        """Take these jets into account."""
        weights = batch.events["weight"]
        self._n_events += len(batch)
        self._n_jets += len(batch.jets)
        self._weights += weights.sum(), (weights**2).sum()
        _add(self._events, batch.events, weights)
        _add(self._jets, batch.jets, batch.weights)

    def result(self) -> JetOverview:
        """What was seen so far."""
        total, squares = self._weights
        return JetOverview(
            self._n_events,
            self._n_jets,
            float(total),
            float(total**2 / squares) if squares else 0.0,
            _summaries(self._events, EVENT_UNITS),
            _summaries(self._jets, JET_UNITS),
        )


def _add(columns: dict[str, ColumnMoments], table: Table, weights: np.ndarray) -> None:
    for name in table.dtype.names or ():
        if name != _INDEX:
            known = np.isfinite(table[name])
            values = table[name][known].astype(np.float64)
            columns.setdefault(name, ColumnMoments(1)).add(values[:, None], weights[known])


def _summaries(
    columns: dict[str, ColumnMoments], units: dict[str, str]
) -> tuple[ColumnSummary, ...]:
    return tuple(
        moments.summaries({name: units.get(name, "1")})[0] for name, moments in columns.items()
    )
