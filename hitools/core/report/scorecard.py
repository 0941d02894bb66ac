"""The table of what a model has to reach on O-O: the paper, the goal, what was measured, reached.

Pure: it reads what the commands wrote (report.json and the like) and judges. A goal that two
halves of the real events miss as well is not counted against a model that is no worse than they
are within two standard errors, nor for it: such a row "cannot be told" with that many events.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from hitools.core.report.page import number, with_error
from hitools.core.report.verdicts import N_ERRORS

MEANING: Final = (
    "Floor: the same number between two halves of the reference. Reached: no means that the goal "
    "is missed; cannot be told, that two halves of the real events miss it too and the model is "
    "within two standard errors of it, or that more events are needed to prove it."
)

Verdict = Literal["yes", "no", "cannot be told", "not measured"]
Kind = Literal["at most", "at least", "near one", "floors"]

LARGE_SAMPLE: Final = 100_000
"""Events of each side from which on the absolute goal of <W1>_part can be asked for."""

_SLICE_JETS: Final = 100
"""The ratio of two equal slices of so many jets, known to 10%, needs twice as many."""


@dataclass(frozen=True)
class Number:
    """A measured number.

    Attributes:
        value: NaN where it was not measured.
        error: one standard error; NaN without one.
        floor: between two halves of the reference; NaN without one.
        note: short words behind it.
        unresolved: why reaching the goal would prove nothing with these events, or "".
    """

    value: float
    error: float = math.nan
    floor: float = math.nan
    note: str = ""
    unresolved: str = ""


@dataclass(frozen=True)
class Aim:
    """A row of the table.

    Attributes:
        key: of the measured number.
        label: for people.
        paper: the paper's value, as text.
        kind: how the limit is meant; "floors" counts floors.
        limit: number of the goal.
        unit: or "".
    """

    key: str
    label: str
    paper: str
    kind: Kind
    limit: float
    unit: str = ""

    @property
    def goal(self) -> str:
        """For people."""
        shown = f"{self.limit:g}"
        words = {
            "at most": f"<= {shown}",
            "at least": f">= {shown}",
            "near one": f"within {shown} of 1",
            "floors": f"<= {shown} floors",
        }
        return words[self.kind]

    def excess(self, value: float, floor: float) -> float:
        """How far a value is beyond the goal; negative or 0 where it is reached."""
        match self.kind:
            case "at most":
                return value - self.limit
            case "at least":
                return self.limit - value
            case "near one":
                return abs(value - 1) - self.limit
            case "floors":
                return value - self.limit * floor

    def verdict(self, found: Number) -> Verdict:
        """Whether the goal is reached."""
        if math.isnan(found.value):
            return "not measured"
        excess = self.excess(found.value, found.floor)
        if excess <= 0:
            return "cannot be told" if found.unresolved else "yes"
        granted = 0.0 if math.isnan(found.error) else N_ERRORS * found.error
        floor_misses = self.kind != "floors" and self.excess(found.floor, found.floor) > 0
        return "cannot be told" if floor_misses and excess <= granted else "no"


def _maps() -> tuple[Aim, ...]:
    pairs = (
        ("mean_eta:mean_pt", "<eta>, <pT>", "1.02", "1.00"),
        ("n_particles:sum_pt", "N, sum pT", "0.97", "0.99"),
        ("eta:pt", "eta, pT", "1.01", "1.00"),
        ("phi:pt", "phi, pT", "1.01", "1.00"),
    )
    return tuple(
        Aim(f"closure.{pair}.{score}", f"2D score of {label}, {score}", paper, "near one", 0.01)
        for pair, label, mean, median in pairs
        for score, paper in (("mean", mean), ("median", median))
    )


AIMS: Final = (
    Aim("q.correlation.x", "correlation of Q_x", "0.99", "at least", 0.995),
    Aim("q.correlation.y", "correlation of Q_y", "0.99", "at least", 0.995),
    Aim("q.rms.x", "RMS of Q_x", "1.14", "at most", 0.7, "GeV/c"),
    Aim("q.rms.y", "RMS of Q_y", "0.99", "at most", 0.7, "GeV/c"),
    Aim("w1.part", "<W1>_part", "2.18e-3", "floors", 1.3),
    Aim("w1.part.large", "<W1>_part of 10^5 events", "2.18e-3", "at most", 1e-3),
    *_maps(),
    Aim("auc.event", "AUC, event MLP", "about 0.5", "at most", 0.51),
    Aim("auc.deepsets", "AUC, Deep Sets", "about 0.5", "at most", 0.51),
    Aim("auc.transformer", "AUC, transformer", "not tried", "at most", 0.60),
    Aim("resolution", "event-plane resolution across the gap, pull", "by eye", "at most", 2),
    Aim("v2_sp", "v2{SP}(pT), largest pull of its bins", "by eye", "at most", 2),
    Aim("jets.pt.within_10", "jet pT ratio within 10% up to", "0.998", "at least", 0.9995),
    Aim("evaluations", "network evaluations per event", "some hundreds", "at most", 16),
    Aim("cpu", "time per event, one CPU core", "", "at most", 12, "ms"),
    Aim("cuda", "time per event, GPU", "2900 (A100)", "at most", 1, "ms"),
)
"""The goals on O-O, with the paper's values (sections IV B to E, Figs. 4, 5, 8, 11, 12)."""


# From the commands' results ----------------------------------------------------------------------


def numbers(
    report: Mapping[str, Any] | None = None,
    flow: Mapping[str, Any] | None = None,
    flow_floor: Mapping[str, Any] | None = None,
    classifiers: Sequence[Mapping[str, Any]] = (),
    costs: Sequence[Mapping[str, Any]] = (),
    uncorrected: Mapping[str, Any] | None = None,
) -> dict[str, Number]:
    """Every number of the table that these results hold.

    Args:
        report: report.json of hi-report, reference against sample.
        flow: hi-flow --json of the same.
        flow_floor: hi-flow --json of two halves of the reference.
        classifiers: hi-classify --json, more classifiers than the report has.
        costs: what benchmarks/cost.py --json prints, of a CPU core and of a GPU.
        uncorrected: hi-qclosure --json of a sample whose particles were not moved to the sums of
            their events, where those of the report were: after that, closure of Q proves little.
    """
    report = report or {"quantities": [], "sections": {}}
    everything = [*report["quantities"], *(q for one in classifiers for q in one["quantities"])]
    listed = {q["name"]: _number(q) for q in everything}
    found = {aim.key: listed[aim.key] for aim in AIMS if aim.key in listed}
    if uncorrected is not None:
        found |= _before_corrections(uncorrected, found)
    for name in ("event", "deepsets", "transformer"):
        if f"auc.{name}" in found:
            p = listed[f"p_value.{name}"]
            found[f"auc.{name}"] = _noted(found[f"auc.{name}"], f"p = {p.value:.2g}")
    if flow is not None and "w1.part" in found:
        found["w1.part.large"] = _large(found["w1.part"], flow["n_events"])
    if "jets.pt.within_10" in found and "jets" in report["sections"]:
        found["jets.pt.within_10"] = _jets(
            found["jets.pt.within_10"], report["sections"]["jets"]["n_jets"]
        )
    if flow is not None:
        found |= _flow(flow, flow_floor)
    for cost in costs:
        device = "cpu" if cost["device"] == "cpu" else "cuda"
        note = cost["device_name"]
        if cost["together"] < cost["together_in_hi_sample"]:
            note += f", in blocks of {cost['together']}"
        found[device] = Number(cost["ms_per_event"], cost["ms_per_event_error"], note=note)
        found["evaluations"] = Number(
            cost["evaluations"],
            note=f"{cost['solver']}; {cost['event_evaluations']} of the small networks",
        )
    return found


def _before_corrections(
    uncorrected: Mapping[str, Any], found: Mapping[str, Number]
) -> dict[str, Number]:
    """Closure before particles were moved to the sums; what it is after, as a note."""
    listed = {q["name"]: _number(q) for q in uncorrected["quantities"]}
    before = {}
    for key in (aim.key for aim in AIMS if aim.key in listed):
        after = found.get(key)
        note = "" if after is None else f"{with_error(after.value, after.error)} after corrections"
        before[key] = _noted(listed[key], note)
    return before


def _number(entry: Mapping[str, Any]) -> Number:
    value, error, floor = (
        math.nan if entry[key] is None else float(entry[key]) for key in ("value", "error", "floor")
    )
    return Number(value, error, floor)


def _noted(found: Number, note: str, unresolved: str = "") -> Number:
    return Number(found.value, found.error, found.floor, note, unresolved)


def _large(found: Number, n_events: Sequence[int]) -> Number:
    if min(n_events) >= LARGE_SAMPLE:
        return found
    missing = f"{min(n_events):,} events"
    return Number(math.nan, note=missing)


def _jets(found: Number, n_jets: Sequence[int]) -> Number:
    """The goal is proven only where a slice of the top jets as thin as that is known to 10%."""
    thinnest = _SLICE_JETS * sum(1 / max(n, 1) for n in n_jets)
    goal = next(aim.limit for aim in AIMS if aim.key == "jets.pt.within_10")
    if 1 - thinnest >= goal:
        return found
    resolved = f"{min(n_jets):,} jets resolve {max(1 - thinnest, 0):.4f}"
    return _noted(found, resolved, resolved)


def _flow(flow: Mapping[str, Any], floor: Mapping[str, Any] | None) -> dict[str, Number]:
    listed = {q["name"]: _number(q) for q in flow["quantities"]}
    stem = "flow.v2_sp.resolution"
    pull, ours, theirs = (listed[f"{stem}{end}"] for end in (".pull", "", ".reference"))
    note = f"{with_error(ours.value, ours.error)}, real {with_error(theirs.value, theirs.error)}"
    largest, n_bins = largest_pull(flow)
    of_halves = math.nan if floor is None else largest_pull(floor)[0]
    return {
        "resolution": Number(pull.value, math.nan, pull.floor, note),
        "v2_sp": Number(largest, math.nan, of_halves, f"{n_bins} bins"),
    }


def largest_pull(flow: Mapping[str, Any]) -> tuple[float, int]:
    """|v2{SP} of the sample - of the reference| over their error, in the bin where it is largest.

    Infinite where the reference has a v2 and the sample none (a negative resolution).

    Args:
        flow: hi-flow --json of reference and sample.

    Returns:
        The pull and the number of bins; NaN and 0 where the reference has none.
    """
    ours, theirs = flow["curves"]["v2_sp"], flow["reference_curves"]["v2_sp"]
    pulls = []
    for mine, my_error, its, its_error in zip(
        ours["value"], ours["error"], theirs["value"], theirs["error"], strict=True
    ):
        if its is None or its_error is None:
            continue
        if mine is None or my_error is None:
            return math.inf, 0
        error = math.hypot(my_error, its_error)
        if error > 0:
            pulls.append(abs(mine - its) / error)
    return (max(pulls), len(pulls)) if pulls else (math.nan, 0)


# As a table --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Column:
    """One model.

    Attributes:
        model: its name.
        found: by key of AIMS.
    """

    model: str
    found: Mapping[str, Number]

    def rows(self) -> list[dict[str, Any]]:
        """For JSON: every row with its verdict."""
        rows = []
        for aim in AIMS:
            one = self.found.get(aim.key, Number(math.nan))
            rows.append(
                {
                    "name": aim.key,
                    "label": aim.label,
                    "paper": aim.paper,
                    "goal": aim.goal,
                    "unit": aim.unit or "1",
                    **{
                        name: value if math.isfinite(value) else None
                        for name, value in (
                            ("value", one.value),
                            ("error", one.error),
                            ("floor", one.floor),
                        )
                    },
                    "note": one.note,
                    "reached": aim.verdict(one),
                }
            )
        return rows


def markdown(columns: Sequence[Column]) -> str:
    """The table, the models side by side."""
    alone = len(columns) == 1
    titles = ["quantity", "paper", "goal"]
    for column in columns:
        titles += [name if alone else f"{column.model}: {name}" for name in _PER_MODEL]
    lines = [_line(titles), _line(["---"] * len(titles))]
    for aim in AIMS:
        unit = f" [{aim.unit}]" if aim.unit else ""
        cells = [aim.label + unit, aim.paper, aim.goal]
        for column in columns:
            one = column.found.get(aim.key, Number(math.nan))
            shown = "inf" if math.isinf(one.value) else with_error(one.value, one.error)
            note = f" ({one.note})" if one.note else ""
            cells += [shown + note, number(one.floor), aim.verdict(one)]
        lines.append(_line(cells))
    return "\n".join(lines) + "\n"


_PER_MODEL: Final = ("measured", "floor", "reached")


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
