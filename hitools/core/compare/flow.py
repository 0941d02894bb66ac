"""Flow and trigger correlations of a sample, alone or against a reference (hi-flow)."""

from dataclasses import dataclass

import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.compare import bootstrap
from hitools.core.compare.flow_sums import FlowOptions, FlowSums, Sums
from hitools.core.compare.flow_values import FlowNumbers, flow_numbers
from hitools.core.compare.histogram import RatioComparison, compare_histograms
from hitools.core.compare.maps import RatioMap, compare_maps
from hitools.core.compare.quantity import Quantity
from hitools.core.features import BoolArray, Float64Array


@dataclass(frozen=True)
class FlowComparison:
    """A sample against a reference.

    Attributes:
        pull: |sample - reference| / combined error of each scalar.
        chi2: chi2 and number of bins of each curve, and of the shape of the delta phi
            distribution ("pairs"): the number of partners is compared on its own.
        pull_floor: mean pull between halves of the reference.
        chi2_floor: mean chi2/ndf between halves of the reference.
        delta_phi: pairs per trigger, both samples.
        map: pairs per trigger in delta phi and the trigger's pT, both samples.
    """

    pull: dict[str, float]
    chi2: dict[str, tuple[float, int]]
    pull_floor: dict[str, float]
    chi2_floor: dict[str, float]
    delta_phi: RatioComparison
    map: RatioMap


@dataclass(frozen=True)
class FlowResult:
    """Numbers of the sample, and of the reference and their comparison where there is one.

    Attributes:
        options: what was measured.
        sample: numbers and curves.
        sample_sums: the sums they are made of.
        reference: the same of the reference, or None.
        comparison: or None.
        n_events: of reference (0 without one) and sample.
    """

    options: FlowOptions
    sample: FlowNumbers
    sample_sums: Sums
    reference: FlowNumbers | None
    comparison: FlowComparison | None
    n_events: tuple[int, int]

    def quantities(self) -> list[Quantity]:
        """flow.NAME, and with a reference flow.NAME.reference, .pull and .chi2_ndf."""
        out = []
        for name, value in self.sample.value.items():
            if value.ndim:
                out += self._curve(name)
                continue
            out.append(Quantity(f"flow.{name}", float(value), float(self.sample.error[name])))
            if self.reference is not None and self.comparison is not None:
                other, error = self.reference.value[name], self.reference.error[name]
                out.append(Quantity(f"flow.{name}.reference", float(other), float(error)))
                pull, floor = self.comparison.pull[name], self.comparison.pull_floor[name]
                out.append(Quantity(f"flow.{name}.pull", pull, 1.0, floor, "sigma"))
        return out + self._pairs()

    def _curve(self, name: str) -> list[Quantity]:
        if self.comparison is None or name not in self.comparison.chi2:
            return []
        chi2, ndf = self.comparison.chi2[name]
        floor = self.comparison.chi2_floor[name]
        stem = name.removesuffix("(pt)").replace("u", "v")
        return [_chi2_quantity(f"flow.{stem}.chi2_ndf", chi2, ndf, floor)]

    def _pairs(self) -> list[Quantity]:
        if self.comparison is None:
            return []
        chi2, ndf = self.comparison.chi2["pairs"]
        ratios = self.comparison.map
        floor = self.comparison.chi2_floor["pairs"]
        out = [_chi2_quantity("flow.pairs.chi2_ndf", chi2, ndf, floor)]
        numbers = zip(
            ("mean", "median", "mean_95", "median_95"),
            ratios.score.as_array(),
            ratios.score_error,
            ratios.score_floor,
            strict=True,
        )
        for name, value, error, floor in numbers:
            out.append(Quantity(f"flow.pairs.map.{name}", float(value), float(error), float(floor)))
        return out


def _chi2_quantity(name: str, chi2: float, ndf: int, floor: float) -> Quantity:
    if not ndf:
        return Quantity(name, np.nan, np.nan, floor)
    spread = np.sqrt(2 * ndf + 4 * max(0.0, chi2 - ndf)) / ndf
    return Quantity(name, chi2 / ndf, float(spread), floor)


class FlowAccumulator:
    """Feed the sample, and the reference where there is one, batch by batch in any order."""

    def __init__(self, options: FlowOptions | None = None, seed: int = 0) -> None:
        """Prepare; seed deals events into groups and draws halves."""
        self._options = options or FlowOptions()
        self._seed = seed
        self._reference = FlowSums(self._options, seed)
        self._sample = FlowSums(self._options, seed)

    def add_reference(self, batch: EventBatch) -> None:
        """Take the next events of the reference."""
        self._reference.add(batch)

    def add_sample(self, batch: EventBatch) -> None:
        """Take the next events of the sample."""
        self._sample.add(batch)

    def result(self) -> FlowResult:
        """Numbers of what was fed so far.

        Raises:
            ValueError: no events in the sample.
        """
        if not self._sample.ledger.n_events:
            raise ValueError("no events")
        harmonics, sums = self._options.harmonics, self._sample.sums
        numbers = flow_numbers(sums, harmonics)
        n_events = self._reference.ledger.n_events, self._sample.ledger.n_events
        if not n_events[0]:
            return FlowResult(self._options, numbers, sums, None, None, n_events)
        reference = flow_numbers(self._reference.sums, harmonics)
        comparison = self._compare(reference, numbers)
        return FlowResult(self._options, numbers, sums, reference, comparison, n_events)

    def _compare(self, reference: FlowNumbers, sample: FlowNumbers) -> FlowComparison:
        theirs, ours = self._reference.sums, self._sample.sums
        halves = bootstrap.half_splits(seed=self._seed)
        splits = [self._half_against_half(half) for half in halves]
        pulls, chi2 = _pulls(reference, sample), _chi2_of_curves(reference, sample)
        delta_phi = compare_histograms(
            self._options.delta_phi_edges,
            _with_open_bins(theirs["delta_phi"]),
            _with_open_bins(ours["delta_phi"]),
            theirs["triggers"],
            ours["triggers"],
        )
        shape = compare_histograms(
            delta_phi.edges, *(_with_open_bins(x["delta_phi"]) for x in (theirs, ours))
        )
        return FlowComparison(
            pull=pulls,
            chi2=chi2 | {"pairs": (shape.chi2, shape.ndf)},
            pull_floor={name: _mean([pull[name] for pull, _ in splits]) for name in pulls},
            chi2_floor={
                name: _mean([per_bin[name] for _, per_bin in splits]) for name in (*chi2, "pairs")
            },
            delta_phi=delta_phi,
            map=compare_maps(
                self._options.delta_phi_edges,
                self._options.trigger_edges,
                theirs["map"],
                ours["map"],
                theirs["triggers"],
                ours["triggers"],
                self._seed,
            ),
        )

    def _half_against_half(self, half: BoolArray) -> tuple[dict[str, float], dict[str, float]]:
        """Pulls and chi2/ndf between two halves of the reference."""
        sums, harmonics = self._reference.sums, self._options.harmonics
        one, other = (flow_numbers(sums, harmonics, groups) for groups in (half, ~half))
        per_bin = {
            name: chi2 / ndf if ndf else np.nan
            for name, (chi2, ndf) in _chi2_of_curves(one, other).items()
        }
        shape = _with_open_bins(sums["delta_phi"])
        pairs = compare_histograms(
            self._options.delta_phi_edges, *(shape * part[:, None] for part in (half, ~half))
        )
        return _pulls(one, other), {**per_bin, "pairs": pairs.chi2_ndf}


def _mean(values: list[float]) -> float:
    """Mean of the numbers among them; NaN where there are none."""
    known = [x for x in values if np.isfinite(x)]
    return float(np.mean(known)) if known else float("nan")


def _with_open_bins(sums: Float64Array) -> Float64Array:
    """An angle has nothing below or above its bins."""
    return np.pad(sums, ((0, 0), (1, 1)))


def _pulls(a: FlowNumbers, b: FlowNumbers) -> dict[str, float]:
    """|a - b| / error of every scalar; NaN where one is not defined."""
    out = {}
    for name in (name for name, value in a.value.items() if not value.ndim):
        error = float(np.hypot(a.error[name], b.error[name]))
        difference = float(abs(a.value[name] - b.value[name]))
        out[name] = difference / error if error > 0 else np.nan
    return out


def _chi2_of_curves(a: FlowNumbers, b: FlowNumbers) -> dict[str, tuple[float, int]]:
    """chi2 and number of bins of the numerators u_n{SP}(pT), d_n{2}(pT), d_n{4}(pT).

    v_n(pT) divides them by a resolution or a power of a cumulant, one number for all bins, which
    may be anything where there is no flow. It is compared on its own.
    """
    out = {}
    for name in a.value:
        if not name.endswith("(pt)") or name.startswith("v"):
            continue
        variance = a.error[name] ** 2 + b.error[name] ** 2
        good = np.isfinite(variance) & (variance > 0)
        pulls2 = (a.value[name] - b.value[name])[good] ** 2 / variance[good]
        out[name] = float(pulls2.sum()), int(good.sum())
    return out
