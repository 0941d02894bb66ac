"""Do the particles of an event carry the event vector that is stored with them (hi-qclosure)?

Q-vector, event plane, sum pT and the means are computed from the particles and compared with
the stored ones, event by event (paper, section IV C and Fig. 5; section IV E, Fig. 11 b, c).
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.compare import bootstrap
from hitools.core.compare.quantity import Quantity
from hitools.core.errors import InputError
from hitools.core.features import (
    EVENT_COLUMNS,
    EVENT_INDEX,
    EVENT_UNITS,
    GEOMETRY_COLUMNS,
    BoolArray,
    Float64Array,
    IntArray,
    event_features,
)

VARIABLES: Final = {
    "x": "q_x",
    "y": "q_y",
    "sum_pt": "sum_pt",
    "mean_pt": "mean_pt",
    "mean_eta": "mean_eta",
    "mean_phi": "mean_phi",
}
"""Name in a quantity, and the event column that is compared with its recomputation."""

CLOSING: Final = 2e-5
"""An event closes when both components of Q agree to this part of sum pT: float32 sums do."""

BY_CONSTRUCTION: Final = 0.99
"""Share of closing events from which the event vectors are taken to be recomputed ones."""

_FIRST_EVENTS: Final = 4096
"""The figure's range follows this many."""
_N_BINS: Final = 60
_MOMENTS: Final = 8


@dataclass(frozen=True)
class EventBins:
    """Bins of one event column, for closure as a function of centrality.

    Attributes:
        column: event column, e.g. "b".
        edges: (n_bins + 1,) ascending; lower edges belong to a bin, upper ones do not.
    """

    column: str
    edges: tuple[float, ...]

    @classmethod
    def parse(cls, text: str) -> "EventBins":
        """Read "b:0,5,10". Raises InputError where it is not of that form."""
        column, colon, numbers = text.partition(":")
        try:
            edges = tuple(float(x) for x in numbers.split(","))
        except ValueError:
            edges = ()
        if not colon or column not in EVENT_COLUMNS or len(edges) < 2:
            raise InputError(f"--bins {text!r}: expected COLUMN:EDGE,EDGE,... such as b:0,5,10")
        if any(high <= low for low, high in pairwise(edges)):
            raise InputError(f"--bins {text!r}: the edges must ascend")
        return cls(column, edges)

    def index(self, batch: EventBatch) -> IntArray:
        """(n_events,) bin of each event, -1 for none."""
        found = np.searchsorted(self.edges, batch.event(self.column), side="right") - 1
        return np.where(found < len(self.edges) - 1, found, -1)

    def labels(self) -> list[str]:
        """ "b:0-5" for each bin."""
        return [f"{self.column}:{low:g}-{high:g}" for low, high in pairwise(self.edges)]


@dataclass(frozen=True)
class QFigure:
    """What the figure shows, for x and y: stored against recomputed, and their difference.

    Attributes:
        q_edges: (61,) of both Q axes, GeV/c.
        density: (2, 60, 60) weight of events: component, stored, recomputed.
        difference_edges: (61,) GeV/c.
        difference: (2, 60) weight of events.
    """

    q_edges: Float64Array
    density: Float64Array
    difference_edges: Float64Array
    difference: Float64Array


@dataclass(frozen=True)
class QClosureResult:
    """Closure of one sample.

    Attributes:
        n_events: how many.
        closing: share of events that close to rounding.
        values: (n_classes, n_quantities) for all events, then for each bin.
        errors: the same shape.
        floors: the same numbers of the reference, how far it is from closing itself; NaN without
            a reference.
        classes: "" for all events, then the label of each bin.
        figure: what is drawn.
    """

    n_events: int
    closing: float
    values: Float64Array
    errors: Float64Array
    floors: Float64Array
    classes: tuple[str, ...]
    figure: QFigure

    @property
    def by_construction(self) -> bool:
        """Whether the stored event vectors are nothing but sums over the stored particles."""
        return self.closing >= BY_CONSTRUCTION

    def quantities(self) -> list[Quantity]:
        """q.STATISTIC.VARIABLE, with @COLUMN:LOW-HIGH in a bin; NaN where closure is no test."""
        out = [
            Quantity("q.closing", self.closing),
            Quantity("q.by_construction", float(self.by_construction)),
        ]
        for row, label in enumerate(self.classes):
            for column, (name, unit) in enumerate(_names()):
                value, error = self.values[row, column], self.errors[row, column]
                if self.by_construction:
                    value = error = np.nan
                floor = float(self.floors[row, column])
                full = f"q.{name}@{label}" if label else f"q.{name}"
                out.append(Quantity(full, float(value), float(error), floor, unit))
        return out


def _names() -> list[tuple[str, str]]:
    """Name and unit of each number, in the order of _values."""
    units = {name: EVENT_UNITS[column] for name, column in VARIABLES.items()}
    names = [(f"correlation.{name}", "1") for name in VARIABLES]
    for statistic in ("mean", "width", "rms"):
        names += [(f"{statistic}.{name}", unit) for name, unit in units.items()]
    return [*names, ("correlation", "1"), ("rms", "GeV/c"), ("cos_2_delta_psi", "1")]


def _values(moments: Float64Array, planes: Float64Array) -> Float64Array:
    """Numbers from sums with any leading axes.

    Args:
        moments: (..., n_variables, 8) sums of w, w s, w r, w s s, w r r, w s r, w d, w d d with
            s stored, r recomputed and d = r - s.
        planes: (..., 2) sums of w and w cos 2(psi_r - psi_s) over events with particles.

    Returns:
        (..., n_quantities)
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        w = moments[..., :1]
        s, r, ss, rr, sr, d, dd = np.moveaxis(moments[..., 1:] / w, -1, 0)
        correlation = (sr - s * r) / np.sqrt((ss - s * s) * (rr - r * r))
        rms = np.sqrt(dd)
        width = np.sqrt(np.maximum(dd - d * d, 0))
        plane = planes[..., 1:] / planes[..., :1]
    both = [correlation[..., :2].mean(-1, keepdims=True), rms[..., :2].mean(-1, keepdims=True)]
    return np.concatenate([correlation, d, width, rms, *both, plane], axis=-1)


class _Side:
    """Sums of one sample."""

    def __init__(self, bins: EventBins | None, seed: int) -> None:
        self.bins = bins
        self.ledger = bootstrap.EventLedger(seed)
        n_classes = 1 + (len(bins.edges) - 1 if bins else 0)
        self.moments = np.zeros((bootstrap.N_GROUPS, n_classes, len(VARIABLES), _MOMENTS))
        self.planes = np.zeros((bootstrap.N_GROUPS, n_classes, 2))
        self.n_closing = 0

    def add(self, batch: EventBatch) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Take events; their (n_events, 2) stored and recomputed Q, and (n_events,) weights."""
        weights = batch.weights_or_ones.astype(np.float64)
        groups = self.ledger.enter(weights)
        pt, eta, phi = (batch.particle(name) for name in ("pt", "eta", "phi"))
        geometry = (batch.event(name) for name in GEOMETRY_COLUMNS)
        again = event_features(pt, eta, phi, batch.offsets, *geometry).astype(np.float64)
        columns = [EVENT_INDEX[name] for name in VARIABLES.values()]
        stored, recomputed = batch.events[:, columns].astype(np.float64), again[:, columns]
        difference = recomputed - stored
        near = np.abs(difference[:, :2]) <= CLOSING * again[:, [EVENT_INDEX["sum_pt"]]]
        self.n_closing += int(np.all(near, axis=1).sum())
        moments = np.stack(
            [
                np.ones_like(stored),
                stored,
                recomputed,
                stored**2,
                recomputed**2,
                stored * recomputed,
                difference,
                difference**2,
            ],
            axis=2,
        )
        cosine = np.cos(2 * (again[:, EVENT_INDEX["psi_2"]] - batch.event("psi_2")))
        filled = batch.n_particles > 0
        planes = np.stack([filled, filled * cosine], axis=1)
        for k, member in enumerate(self._classes(batch)):
            kept = weights * member
            self.moments[:, k] += bootstrap.group_sums(moments * kept[:, None, None], groups)
            self.planes[:, k] += bootstrap.group_sums(planes * kept[:, None], groups)
        return stored[:, :2], recomputed[:, :2], weights

    def _classes(self, batch: EventBatch) -> list[BoolArray]:
        """Masks of all events and of those in each bin."""
        everything = np.ones(len(batch), np.bool_)
        if self.bins is None:
            return [everything]
        index = self.bins.index(batch)
        return [everything, *(index == k for k in range(len(self.bins.edges) - 1))]

    def numbers(self) -> tuple[Float64Array, Float64Array]:
        """Values and errors, (n_classes, n_quantities) each."""
        filled = self.moments[:, 0, 0, 0] > 0
        values = _values(self.moments.sum(0), self.planes.sum(0))
        parts = [bootstrap.left_out(sums, filled) for sums in (self.moments, self.planes)]
        return values, bootstrap.jackknife_error(_values(parts[0], parts[1]))


class _Density:
    """The two histograms of the figure; their range follows the first events."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Float64Array, Float64Array, Float64Array]] = []
        self._n_waiting = 0
        self._figure: QFigure | None = None

    def add(self, stored: Float64Array, recomputed: Float64Array, weights: Float64Array) -> None:
        """Take (n_events, 2) components of Q, stored and recomputed, and (n_events,) weights."""
        if self._figure is not None:
            self._fill(self._figure, stored, recomputed, weights)
            return
        self._waiting.append((stored, recomputed, weights))
        self._n_waiting += len(weights)
        if self._n_waiting >= _FIRST_EVENTS:
            self.figure()

    def _fill(
        self,
        figure: QFigure,
        stored: Float64Array,
        recomputed: Float64Array,
        weights: Float64Array,
    ) -> None:
        for k in range(2):
            figure.density[k] += np.histogram2d(
                stored[:, k], recomputed[:, k], [figure.q_edges] * 2, weights=weights
            )[0]
            difference = recomputed[:, k] - stored[:, k]
            figure.difference[k] += np.histogram(
                difference, figure.difference_edges, weights=weights
            )[0]

    def figure(self) -> QFigure:
        """What was collected; sets the range from the events so far if it is not set yet."""
        if self._figure is None:
            stored, recomputed, _ = (np.concatenate(x) for x in zip(*self._waiting, strict=True))
            q_edges = _symmetric_edges(np.abs(np.concatenate([stored, recomputed])))
            self._figure = QFigure(
                q_edges,
                np.zeros((2, _N_BINS, _N_BINS)),
                _symmetric_edges(np.abs(recomputed - stored)),
                np.zeros((2, _N_BINS)),
            )
            for values in self._waiting:
                self._fill(self._figure, *values)
            self._waiting.clear()
        return self._figure


def _symmetric_edges(sizes: Float64Array) -> Float64Array:
    """Edges around 0 that hold 99.5% of values of these absolute sizes."""
    reach = 1.1 * float(np.quantile(sizes, 0.995)) or 1.0
    return np.linspace(-reach, reach, _N_BINS + 1)


class QClosureAccumulator:
    """Feed the sample, and a reference to set its numbers beside, batch by batch."""

    def __init__(self, bins: EventBins | None = None, seed: int = 0) -> None:
        """Prepare; seed deals events into groups."""
        self._sample, self._reference = _Side(bins, seed), _Side(bins, seed)
        self._classes = ("", *(bins.labels() if bins else ()))
        self._density = _Density()

    def add_reference(self, batch: EventBatch) -> None:
        """Take the next events of the reference."""
        self._reference.add(batch)

    def add_sample(self, batch: EventBatch) -> None:
        """Take the next events of the sample."""
        self._density.add(*self._sample.add(batch))

    def result(self) -> QClosureResult:
        """The closure of what was fed so far.

        Raises:
            ValueError: no events in the sample.
        """
        n_events = self._sample.ledger.n_events
        if not n_events:
            raise ValueError("no events")
        values, errors = self._sample.numbers()
        floors = np.full_like(values, np.nan)
        if self._reference.ledger.n_events:
            floors, _ = self._reference.numbers()
        return QClosureResult(
            n_events=n_events,
            closing=self._sample.n_closing / n_events,
            values=values,
            errors=errors,
            floors=floors,
            classes=self._classes,
            figure=self._density.figure(),
        )
