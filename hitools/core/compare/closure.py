"""Distributions of a sample against a reference: 1D with ratio, 2D ratio maps (hi-closure).

All 11 event and 6 particle variables (paper, Fig. 2, 3, 13, 14) and maps of pairs of them
(Fig. 4), in bins that follow the first events of the reference.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.compare import bootstrap
from hitools.core.compare.binning import VARIABLES, Binning, values_of
from hitools.core.compare.bootstrap import N_GROUPS
from hitools.core.compare.histogram import (
    RatioComparison,
    bin_index,
    compare_histograms,
    separation_power,
)
from hitools.core.compare.maps import RatioMap, compare_maps
from hitools.core.compare.quantity import Quantity
from hitools.core.errors import InputError
from hitools.core.features import EVENT_COLUMNS, BoolArray, Float64Array, FloatArray, IntArray

Pair = tuple[str, str]

DEFAULT_PAIRS: Final[tuple[Pair, ...]] = (
    ("mean_eta", "mean_pt"),
    ("n_particles", "sum_pt"),
    ("eta", "pt"),
    ("phi", "pt"),
)

_BINNING_PARTICLES: Final = 1 << 21
"""Bins follow the first events of the reference up to this many particles."""


def parse_pair(text: str) -> Pair:
    """Read "eta:pt". Raises InputError for unknown names or an event with a particle variable."""
    x, colon, y = text.partition(":")
    if not colon or x not in VARIABLES or y not in VARIABLES or x == y:
        known = ", ".join(VARIABLES)
        raise InputError(f"--pair {text!r}: expected X:Y, two different ones of {known}")
    if (x in EVENT_COLUMNS) != (y in EVENT_COLUMNS):
        raise InputError(f"--pair {text!r}: both must be event variables or particle variables")
    return x, y


@dataclass(frozen=True)
class VariableClosure:
    """One variable.

    Attributes:
        binning: its bins.
        comparison: densities, ratio, chi2 and separation.
        separation_error: bootstrap over events.
        chi2_floor: mean chi2/ndf between halves of the reference.
        separation_floor: mean separation between halves of the reference, for the sizes at hand.
    """

    binning: Binning
    comparison: RatioComparison
    separation_error: float
    chi2_floor: float
    separation_floor: float


@dataclass(frozen=True)
class ClosureResult:
    """All distributions. With one input its halves are compared, and there are no floors."""

    variables: tuple[VariableClosure, ...]
    maps: dict[Pair, RatioMap]
    n_events: tuple[int, int]

    def quantities(self) -> list[Quantity]:
        """closure.VARIABLE.chi2_ndf and .separation, closure.X:Y.mean, .median, ..._95."""
        out = []
        for variable in self.variables:
            name, c = variable.binning.name, variable.comparison
            chi2, error = c.chi2_ndf, c.chi2_ndf_error
            out.append(Quantity(f"closure.{name}.chi2_ndf", chi2, error, variable.chi2_floor))
            out.append(
                Quantity(
                    f"closure.{name}.separation",
                    c.separation,
                    variable.separation_error,
                    variable.separation_floor,
                )
            )
        paired = self.n_events[1] > 0
        for (x, y), ratios in self.maps.items():
            numbers = zip(
                ("mean", "median", "mean_95", "median_95"),
                ratios.score.as_array(),
                ratios.score_error,
                ratios.score_floor,
                strict=True,
            )
            for statistic, value, error, floor in numbers:
                shown = float(floor) if paired else np.nan
                name = f"closure.{x}:{y}.{statistic}"
                out.append(Quantity(name, float(value), float(error), shown))
        return out


class _Side:
    """Histograms of one sample, per group of events."""

    def __init__(self, binnings: dict[str, Binning], pairs: tuple[Pair, ...]) -> None:
        self._binnings, self._pairs = binnings, pairs
        self._halved = {name: binning.halved() for name, binning in binnings.items()}
        self.histograms = {
            name: np.zeros((N_GROUPS, len(binning.edges) + 1)) for name, binning in binnings.items()
        }
        self.maps = {
            (x, y): np.zeros(
                (N_GROUPS, len(self._halved[x].edges) + 1, len(self._halved[y].edges) + 1)
            )
            for x, y in pairs
        }

    def add(self, batch: EventBatch, groups: IntArray) -> None:
        event, weights = batch.event_of_particle, batch.weights
        levels = {
            True: (groups, weights),
            False: (groups[event], None if weights is None else weights[event]),
        }
        index = {}
        for name, binning in self._binnings.items():
            index[name] = bin_index(values_of(batch, name), binning.edges)
            _count(self.histograms[name], levels[binning.of_events], (index[name],))
        for x, y in self._pairs:
            cells = tuple(self._binnings[name].halved_index(index[name]) for name in (x, y))
            _count(self.maps[x, y], levels[self._binnings[x].of_events], cells)


def _count(
    sums: Float64Array, level: tuple[IntArray, FloatArray | None], cells: tuple[IntArray, ...]
) -> None:
    """Add entries to a grouped histogram of any dimension."""
    groups, weights = level
    flat = np.ravel_multi_index((groups, *cells), sums.shape)
    sums += np.bincount(flat, weights, sums.size).reshape(sums.shape)


class ClosureAccumulator:
    """Feed the reference first, then the sample, batch by batch."""

    def __init__(
        self, pairs: tuple[Pair, ...] = DEFAULT_PAIRS, n_bins: int = 50, seed: int = 0
    ) -> None:
        """Prepare.

        Args:
            pairs: variables of the maps.
            n_bins: bins of a variable; a map has half as many on each axis.
            seed: of the grouping of events, the bootstrap and the halves.
        """
        self._pairs, self._n_bins, self._seed = pairs, n_bins, seed
        self._ledgers = bootstrap.EventLedger(seed), bootstrap.EventLedger(seed)
        self._waiting: list[tuple[EventBatch, IntArray]] = []
        self._n_waiting = 0
        self._sides: tuple[_Side, _Side] | None = None
        self._binnings: dict[str, Binning] = {}

    def add_reference(self, batch: EventBatch) -> None:
        """Take the next events of the reference."""
        groups = self._ledgers[0].enter(batch.weights_or_ones)
        if self._sides is not None:
            self._sides[0].add(batch, groups)
            return
        self._waiting.append((batch, groups))
        self._n_waiting += len(batch.particles)
        if self._n_waiting >= _BINNING_PARTICLES:
            self._choose_bins()

    def add_sample(self, batch: EventBatch) -> None:
        """Take the next events of the sample.

        Raises:
            ValueError: the reference, which decides the bins, has not come yet.
        """
        self._choose_bins()[1].add(batch, self._ledgers[1].enter(batch.weights_or_ones))

    def _choose_bins(self) -> tuple[_Side, _Side]:
        if self._sides is None:
            if not self._n_waiting:
                raise ValueError("no particles in the reference to choose bins from")
            batches = [batch for batch, _ in self._waiting]
            self._binnings = {
                name: Binning.following(name, batches, self._n_bins) for name in VARIABLES
            }
            self._sides = _Side(self._binnings, self._pairs), _Side(self._binnings, self._pairs)
            for batch, groups in self._waiting:
                self._sides[0].add(batch, groups)
            self._waiting.clear()
        return self._sides

    def result(self) -> ClosureResult:
        """The comparison of what was fed so far.

        Raises:
            ValueError: no particles in the reference.
        """
        reference, sample = self._choose_bins()
        halves = bootstrap.half_splits(seed=self._seed)
        paired = self._ledgers[1].n_events > 0
        variables = tuple(
            self._variable(binning, reference.histograms[name], sample.histograms[name], halves)
            for name, binning in self._binnings.items()
        )
        maps = {}
        for x, y in self._pairs:
            p, q = (side.maps[x, y][:, 1:-1, 1:-1] for side in (reference, sample))
            if not paired:
                p, q = _parted(p, halves[0])
            x_edges, y_edges = (self._binnings[name].halved().edges for name in (x, y))
            maps[x, y] = compare_maps(x_edges, y_edges, p, q, seed=self._seed)
        n_events = self._ledgers[0].n_events, self._ledgers[1].n_events
        return ClosureResult(variables, maps, n_events)

    def _variable(
        self, binning: Binning, reference: Float64Array, sample: Float64Array, halves: BoolArray
    ) -> VariableClosure:
        seed, paired = self._seed, self._ledgers[1].n_events > 0
        if not paired:
            reference, sample = _parted(reference, halves[0])
        draws = [bootstrap.resampled_groups(seed=2 * seed + side) for side in (0, 1)]
        replicas = _separations(
            bootstrap.totals(reference, draws[0]), bootstrap.totals(sample, draws[1])
        )
        chi2_floor = separation_floor = np.nan
        if paired:
            parts = [_parted(reference, half) for half in halves]
            chi2 = [compare_histograms(binning.edges, p, q).chi2_ndf for p, q in parts]
            chi2_floor = float(np.mean(chi2))
            split = _separations(*(bootstrap.totals(reference, half) for half in (halves, ~halves)))
            # Separation falls as 1/n, a distance as its root.
            scale = bootstrap.floor_scale(*(ledger.effective for ledger in self._ledgers)) ** 2
            separation_floor = float(split.mean()) * scale
        return VariableClosure(
            binning,
            compare_histograms(binning.edges, reference, sample),
            float(bootstrap.spread(replicas)),
            chi2_floor,
            separation_floor,
        )


def _parted(sums: Float64Array, half: BoolArray) -> tuple[Float64Array, Float64Array]:
    """The sums of half the groups, and of the other half; zero elsewhere."""
    axes = (slice(None),) + (None,) * (sums.ndim - 1)
    return sums * half[axes], sums * ~half[axes]


def _separations(p: Float64Array, q: Float64Array) -> Float64Array:
    """(n,) separation powers of n pairs of histograms of any normalisation."""
    return np.array(
        [
            separation_power(a / a.sum(), b / b.sum()) if a.sum() > 0 and b.sum() > 0 else np.nan
            for a, b in zip(p, q, strict=True)
        ]
    )
