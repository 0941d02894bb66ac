"""Jets of a sample against jets of a reference (hi-jets with two inputs).

For every observable the ratio in bins, the Wasserstein distance and how far up the ratio holds,
each with an error from a bootstrap over events and a floor from halves of the reference; and jets
per event. Fed batch by batch: memory stays bounded.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from hitools.core.compare import bootstrap
from hitools.core.compare.bootstrap import N_GROUPS
from hitools.core.compare.distances import share_grid
from hitools.core.compare.histogram import (
    RatioComparison,
    compare_histograms,
    grouped_histogram,
    normalised,
)
from hitools.core.compare.quantity import Quantity
from hitools.core.compare.sketch import Sketch
from hitools.core.errors import InputError
from hitools.core.features import BoolArray, Float64Array, IntArray
from hitools.core.observables.jets.definition import JetDefinition
from hitools.core.observables.jets.distance import Measured, distance, mean_of_known
from hitools.core.observables.jets.reach import reach, reach_cells, reach_of_draws, slices
from hitools.core.observables.jets.substructure import UNTAGGED
from hitools.core.observables.jets.table import JetBatch
from hitools.core.observables.jets.variables import Variable, variables_of

_FIRST_JETS: Final = 1 << 19
"""Bins follow the first events of the reference up to this many jets."""
_HELD_BYTES: Final = 1 << 29
"""Values held for exact distances; beyond, distances come from bins."""


@dataclass(frozen=True)
class VariableComparison:
    """One observable.

    Attributes:
        variable: which.
        ratio: both distributions, their ratio and chi2; None where one side has no value.
        w1: Wasserstein distance in the variable's unit.
        w1_bound: the exact distance lies within this of w1; 0 where it is exact.
        reach: share of the reference below which the ratio stays within 10%; NaN for variables
            without a tail, and where there are too few jets to tell.
        chi2_floor: mean chi2/ndf between halves of the reference.
    """

    variable: Variable
    ratio: RatioComparison | None
    w1: Measured
    w1_bound: float
    reach: Measured
    chi2_floor: float


@dataclass(frozen=True)
class JetComparisonResult:
    """All observables, and numbers per event and per jet.

    Attributes:
        variables: one entry each.
        rates: by name, the number in the sample, in the reference, and the ratio of both.
        n_events: of reference and sample.
        n_jets: of reference and sample.
    """

    variables: tuple[VariableComparison, ...]
    rates: dict[str, tuple[Measured, Measured, Measured]]
    n_events: tuple[int, int]
    n_jets: tuple[int, int]

    def quantities(self) -> list[Quantity]:
        """jets.per_event and its ratio; jets.NAME.w1, .within_10 and .chi2_ndf."""
        out = []
        for name, (sample, reference, ratio) in self.rates.items():
            for suffix, number in (("", sample), (".reference", reference), (".ratio", ratio)):
                out.append(
                    Quantity(f"jets.{name}{suffix}", number.value, number.error, number.floor)
                )
        for entry in self.variables:
            name = f"jets.{entry.variable.name}"
            w1, reached, binned = entry.w1, entry.reach, entry.ratio
            out.append(Quantity(f"{name}.w1", w1.value, w1.error, w1.floor, entry.variable.unit))
            if entry.variable.has_tail:
                out.append(
                    Quantity(f"{name}.within_10", reached.value, reached.error, reached.floor)
                )
            chi2 = (math.nan, math.nan)
            if binned is not None:
                chi2 = (binned.chi2_ndf, binned.chi2_ndf_error)
            out.append(Quantity(f"{name}.chi2_ndf", *chi2, entry.chi2_floor))
        return out


@dataclass(frozen=True)
class JetSummary:
    """The jets of one input by themselves.

    Attributes:
        variables: its observables.
        means: mean of each, by name.
        densities: of those that have values, by name: (n_bins + 1,) edges, (n_bins,) share per
            unit of the variable, (n_bins,) standard error.
        rates: numbers per event and per jet, by name.
        n_events: number of events.
        n_jets: number of jets.
    """

    variables: tuple[Variable, ...]
    means: dict[str, Measured]
    densities: dict[str, tuple[Float64Array, Float64Array, Float64Array]]
    rates: dict[str, Measured]
    n_events: int
    n_jets: int

    def quantities(self) -> list[Quantity]:
        """jets.n_events, jets.n_jets, jets.per_event and the mean of every observable."""
        out = [
            Quantity("jets.n_events", self.n_events),
            Quantity("jets.n_jets", self.n_jets),
        ]
        out += [Quantity(f"jets.{name}", r.value, r.error) for name, r in self.rates.items()]
        for variable in self.variables:
            mean = self.means[variable.name]
            out.append(
                Quantity(f"jets.{variable.name}.mean", mean.value, mean.error, unit=variable.unit)
            )
        return out


class _Side:
    """What is kept of one sample."""

    def __init__(self, variables: tuple[Variable, ...], seed: int) -> None:
        self.ledger = bootstrap.EventLedger(seed)
        self.n_jets = 0
        self.sketches = {variable.name: Sketch() for variable in variables}
        self.histograms: dict[str, Float64Array] = {}
        self.cells: dict[str, Float64Array] = {}
        # Per group: sum of weights of events, of jets, of jets looked into, of jets tagged.
        self.sums = np.zeros((4, N_GROUPS))


class JetComparison:
    """Feed the reference first, then the sample, batch by batch."""

    def __init__(self, definition: JetDefinition, seed: int = 0) -> None:
        """Prepare.

        Args:
            definition: of the jets on both sides.
            seed: of the grouping of events, the bootstrap and the halves.
        """
        self._variables = variables_of(definition)
        self._inside = definition.substructure is not None
        self._seed = seed
        self._sides = _Side(self._variables, seed), _Side(self._variables, seed)
        self._waiting: list[tuple[JetBatch, IntArray]] = []
        self._n_waiting = 0
        self._edges: dict[str, Float64Array] | None = None
        self._cells: dict[str, Float64Array] = {}
        self._held = 0

    def add_reference(self, batch: JetBatch) -> None:
        """Take the next events of the reference."""
        groups = self._enter(self._sides[0], batch)
        if self._edges is not None:
            self._fill(self._sides[0], batch, groups)
            return
        self._waiting.append((batch, groups))
        self._n_waiting += len(batch.jets)
        if self._n_waiting >= _FIRST_JETS:
            self._choose_bins()

    def add_sample(self, batch: JetBatch) -> None:
        """Take the next events of the sample; the reference has come."""
        if self._edges is None:
            self._choose_bins()
        self._fill(self._sides[1], batch, self._enter(self._sides[1], batch))

    def _enter(self, side: _Side, batch: JetBatch) -> IntArray:
        """Count events and jets; (n_events,) the groups of the events."""
        weights = batch.events["weight"]
        groups = side.ledger.enter(weights)
        side.n_jets += len(batch.jets)
        per_event = [weights, weights * batch.events["n_jets"]]
        if self._inside:
            for used in (np.isfinite(batch.jets["z_g"]), batch.jets["z_g"] > UNTAGGED):
                owner = batch.jets["event"][used]
                per_event.append(np.bincount(owner, weights[owner], len(batch)))
        for kind, values in enumerate(per_event):
            side.sums[kind] += np.bincount(groups, values, N_GROUPS)
        return groups

    def _choose_bins(self) -> None:
        self._edges = {}
        for variable in self._variables:
            values = np.concatenate(
                [np.zeros(0), *(variable.values(batch)[0] for batch, _ in self._waiting)]
            )
            if len(values):
                self._edges[variable.name] = variable.edges(values)
                self._cells[variable.name] = reach_cells(values)
        for batch, groups in self._waiting:
            self._fill(self._sides[0], batch, groups)
        self._waiting.clear()

    def _fill(self, side: _Side, batch: JetBatch, groups: IntArray) -> None:
        edges = self._edges or {}
        for variable in self._variables:
            name = variable.name
            if name not in edges:
                continue
            values, event = variable.values(batch)
            weights = batch.events["weight"][event]
            group = groups[event]
            counts = grouped_histogram(values, edges[name], group, weights)
            side.histograms[name] = side.histograms.get(name, 0.0) + counts
            # The outermost cells are open, and so is the histogram that counts them.
            inner = grouped_histogram(values, self._cells[name], group, weights)
            side.cells[name] = side.cells.get(name, 0.0) + inner
            self._held += side.sketches[name].add(
                values.astype(np.float32), weights.astype(np.float32), group
            )
        if self._held > _HELD_BYTES:
            self._give_up_values()

    def _give_up_values(self) -> None:
        reference, sample = self._sides
        for name in self._edges or {}:
            share_grid(reference.sketches[name], sample.sketches[name])
            for side in self._sides:
                if side.sketches[name].exact:
                    side.sketches[name].give_up_values()
        self._held = 0

    def alone(self) -> JetSummary:
        """What the reference is by itself."""
        if self._edges is None:
            self._choose_bins()
        side, nothing = self._sides[0], Sketch()
        means, densities = {}, {}
        for variable in self._variables:
            name = variable.name
            if name not in (self._edges or {}):
                means[name] = Measured()
                continue
            share_grid(side.sketches[name], nothing)
            weight, total = (sums.sum(1) for sums in side.sketches[name].coarse_bins())
            means[name] = _first(normalised(total[:, None], weight))
            value, error = normalised(side.histograms[name])
            edges = (self._edges or {})[name]
            width = np.diff(edges)
            densities[name] = edges, value[1:-1] / width, error[1:-1] / width
        return JetSummary(
            self._variables,
            means,
            densities,
            {name: self._share(0, *kinds) for name, kinds in self._rates().items()},
            side.ledger.n_events,
            side.n_jets,
        )

    def result(self) -> JetComparisonResult:
        """The comparison of what was fed.

        Raises InputError where the reference or the sample has no jet.
        """
        reference, sample = self._sides
        if self._edges is None:
            self._choose_bins()
        for name, side in (("reference", reference), ("sample", sample)):
            if not side.n_jets:
                raise InputError(f"no jets to compare: the {name} has none")
        return JetComparisonResult(
            tuple(self._compare(variable) for variable in self._variables),
            {name: self._rate(*kinds) for name, kinds in self._rates().items()},
            (reference.ledger.n_events, sample.ledger.n_events),
            (reference.n_jets, sample.n_jets),
        )

    @property
    def _floor_scale(self) -> float:
        return bootstrap.floor_scale(*(side.ledger.effective for side in self._sides))

    def _rates(self) -> dict[str, tuple[int, int]]:
        """Which of the sums of a side to divide by which."""
        rates = {"per_event": (1, 0)}
        return rates | {"soft_drop_tagged": (3, 2)} if self._inside else rates

    def _share(self, side: int, above: int, below: int) -> Measured:
        sums = self._sides[side].sums
        return _first(normalised(sums[above][:, None], sums[below]))

    def _rate(self, above: int, below: int) -> tuple[Measured, Measured, Measured]:
        """Of the sample, of the reference, and the ratio of both."""
        reference, sample = (self._share(side, above, below) for side in (0, 1))
        ratio = sample.value / reference.value if reference.value else math.nan
        relative = [number.error / number.value for number in (reference, sample) if number.value]
        sums = self._sides[0].sums
        floor = self._floor((sums[above], sums[below]))
        return sample, reference, Measured(ratio, ratio * math.hypot(*relative), floor)

    def _floor(self, counts: tuple[Float64Array, Float64Array]) -> float:
        """What the ratio of two rates is between halves of one sample, for the sizes at hand."""
        halves = bootstrap.half_splits(seed=self._seed)
        with np.errstate(invalid="ignore", divide="ignore"):  # a half without jets has no ratio
            one, other = (
                bootstrap.totals(counts[0], half) / bootstrap.totals(counts[1], half)
                for half in (halves, ~halves)
            )
            apart = np.abs(one / other - 1)
        return 1 + mean_of_known(apart) * self._floor_scale

    def _compare(self, variable: Variable) -> VariableComparison:
        name, seed = variable.name, self._seed
        if name not in (self._edges or {}) or not self._sides[1].sketches[name].n_values:
            return VariableComparison(variable, None, Measured(), math.nan, Measured(), math.nan)
        edges = (self._edges or {})[name]
        p, q = (side.histograms[name] for side in self._sides)
        halves = bootstrap.half_splits(seed=seed)
        chi2 = [compare_histograms(edges, *_parted(p, half)).chi2_ndf for half in halves]
        reference, sample = (side.sketches[name] for side in self._sides)
        w1, bound = distance(
            reference, sample, self._floor_scale, periodic=variable.periodic, seed=seed
        )
        return VariableComparison(
            variable,
            compare_histograms(edges, p, q),
            w1,
            bound,
            self._reach(name, halves) if variable.has_tail else Measured(),
            mean_of_known(np.array(chi2)),
        )

    def _reach(self, name: str, halves: BoolArray) -> Measured:
        p, q = (side.cells[name] for side in self._sides)
        joined = slices(p, q)
        draws = (bootstrap.resampled_groups(seed=2 * self._seed + side) for side in (0, 1))
        split = [reach(slices(*_parted(p, half))) for half in halves]
        return Measured(
            reach(joined),
            float(bootstrap.spread(reach_of_draws(joined, *draws))),
            mean_of_known(np.array(split)),
        )


def _first(measured: tuple[Float64Array, Float64Array]) -> Measured:
    value, error = measured
    return Measured(float(value[0]), float(error[0]))


def _parted(sums: Float64Array, half: BoolArray) -> tuple[Float64Array, Float64Array]:
    """The sums of half the groups, and of the other half; zero elsewhere."""
    return sums * half[:, None], sums * ~half[:, None]
