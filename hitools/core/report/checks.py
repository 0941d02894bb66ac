"""Every validation of a sample against its reference, fed in one pass over the events.

Each check keeps its own sums; jets are found while the events go by. A Section is what a check
leaves for the page: its numbers, sentences and figure.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from hitools.core.batch import EventBatch
from hitools.core.compare.blocks import steady_blocks
from hitools.core.compare.quantity import Quantity
from hitools.core.observables.jets.definition import JetDefinition
from hitools.core.report.names import TITLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hitools.core.compare.classify.two_sample import ClassifyAccumulator
    from hitools.core.observables.jets.comparison import JetComparison

Advance = Callable[[float], None]


@dataclass(frozen=True, eq=False)
class Section:
    """What one check found.

    Attributes:
        name: of the command without "hi-", e.g. "w1".
        quantities: its numbers.
        remarks: sentences on them.
        figures: by name of the file that they go to, without ending.
        details: more for JSON.
    """

    name: str
    quantities: tuple[Quantity, ...]
    remarks: tuple[str, ...] = ()
    figures: "dict[str, Figure]" = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """For people."""
        return TITLES[self.name]


@dataclass(frozen=True)
class ReportOptions:
    """What a report holds.

    Attributes:
        checks: names out of names.TITLES.
        classifiers: see compare.classify.
        n_seeds: trainings of each classifier.
        max_events: of each input for the classifiers.
        device: for the classifiers.
        workers: processes that find jets.
        seed: of everything random.
    """

    checks: tuple[str, ...] = tuple(TITLES)
    classifiers: tuple[str, ...] = ("event", "deepsets")
    n_seeds: int = 3
    max_events: int = 20_000
    device: str = "auto"
    workers: int = 1
    seed: int = 1


class _Accumulator(Protocol):
    def add_reference(self, batch: EventBatch) -> None: ...

    def add_sample(self, batch: EventBatch) -> None: ...


class Checks:
    """Feed the reference, then the sample; then ask for the sections."""

    def __init__(self, options: ReportOptions, eta_max: float) -> None:
        """Prepare all checks.

        Args:
            options: which, and how.
            eta_max: the |eta| limit of the particles, for the jets.
        """
        self._options = options
        self._definition = JetDefinition(eta_max=eta_max, seed=options.seed)
        self._accumulators = {
            name: make(options) for name, make in _ACCUMULATORS.items() if name in options.checks
        }
        self._classify: ClassifyAccumulator | None = self._accumulators.get("classify")
        self._jets = _jets(self._definition, options) if "jets" in options.checks else None

    def add_reference(self, batches: Iterable[EventBatch]) -> None:
        """Take all events of the reference."""
        adders = [accumulator.add_reference for accumulator in self._accumulators.values()]
        self._take(batches, adders, self._jets.add_reference if self._jets else None)

    def add_sample(self, batches: Iterable[EventBatch]) -> None:
        """Take all events of the sample."""
        adders = [accumulator.add_sample for accumulator in self._accumulators.values()]
        self._take(batches, adders, self._jets.add_sample if self._jets else None)

    def _take(
        self,
        batches: Iterable[EventBatch],
        adders: list[Callable[[EventBatch], None]],
        add_jets: Callable[[Any], None] | None,
    ) -> None:
        def passing() -> Iterator[EventBatch]:
            for block in steady_blocks(batches):
                for add in adders:
                    add(block)
                yield block

        if add_jets is None:
            for _ in passing():
                pass
            return
        from hitools.core.observables.jets.workers import find_all

        for jets in find_all(passing(), self._definition, self._options.workers):
            add_jets(jets)

    def require(self, names: tuple[str, str]) -> None:
        """Raise InputError where the inputs, by these names, cannot be compared."""
        if self._classify is not None:
            self._classify.check(names)

    def n_trainings(self) -> int:
        """How many trainings sections() will do."""
        return self._classify.n_trainings() if self._classify else 0

    def sections(self, advance: Advance = lambda share: None) -> Iterator[Section]:  # noqa: ARG005
        """One after another, in the order of TITLES.

        Args:
            advance: told the number of trainings done since the last call.
        """
        for name in TITLES:
            if name == "jets" and self._jets is not None:
                yield _jets_section(self._jets, self._definition)
            elif name == "classify" and self._classify is not None:
                yield _classify_section(self._classify, advance)
            elif name in self._accumulators:
                yield _SECTIONS[name](self._accumulators[name])


def _w1(options: ReportOptions) -> _Accumulator:
    from hitools.core.compare.w1 import W1Accumulator

    return W1Accumulator(seed=options.seed)


def _qclosure(options: ReportOptions) -> _Accumulator:
    from hitools.core.compare.qclosure import QClosureAccumulator

    return QClosureAccumulator(None, options.seed)


def _flow(options: ReportOptions) -> _Accumulator:
    from hitools.core.compare.flow import FlowAccumulator
    from hitools.core.compare.flow_sums import FlowOptions

    return FlowAccumulator(FlowOptions(), options.seed)


def _closure(options: ReportOptions) -> _Accumulator:
    from hitools.core.compare.closure import ClosureAccumulator

    return ClosureAccumulator(seed=options.seed)


def _classify(options: ReportOptions) -> _Accumulator:
    from hitools.core.compare.classify.training import TrainingOptions
    from hitools.core.compare.classify.two_sample import ClassifyAccumulator, ClassifyOptions

    return ClassifyAccumulator(
        ClassifyOptions(
            classifiers=options.classifiers,
            n_seeds=options.n_seeds,
            max_events=options.max_events,
            seed=options.seed,
            training=TrainingOptions(device=options.device),
        )
    )


def _jets(definition: JetDefinition, options: ReportOptions) -> "JetComparison":
    from hitools.core.observables.jets.comparison import JetComparison

    return JetComparison(definition, options.seed)


_ACCUMULATORS: Final[dict[str, Callable[[ReportOptions], Any]]] = {
    "w1": _w1,
    "qclosure": _qclosure,
    "flow": _flow,
    "closure": _closure,
    "classify": _classify,
}


def _w1_section(accumulator: Any) -> Section:
    from hitools.core.plot.w1 import w1_figure

    result = accumulator.result()
    remarks = [] if result.exact else ["Distances are estimated in bins, within the bounds below."]
    bounds = {f"w1.{d.name}": d.bound for d in result.distances}
    return Section(
        "w1",
        tuple(result.quantities()),
        tuple(remarks),
        {"w1": w1_figure(result)},
        {"exact": result.exact, "bounds": bounds},
    )


def _qclosure_section(accumulator: Any) -> Section:
    from hitools.core.plot.qclosure import qclosure_figure

    result = accumulator.result()
    remarks = []
    if result.by_construction:
        remarks.append(
            "The sample closes by construction: its event vectors are sums over its own "
            "particles. Closure tests nothing here."
        )
    figures = {"qclosure": qclosure_figure(result)}
    return Section("qclosure", tuple(result.quantities()), tuple(remarks), figures)


def _flow_section(accumulator: Any) -> Section:
    from hitools.core.plot.flow import flow_figure

    result = accumulator.result()
    return Section("flow", tuple(result.quantities()), (), {"flow": flow_figure(result)})


def _closure_section(accumulator: Any) -> Section:
    from hitools.core.plot.closure import closure_figure

    result = accumulator.result()
    binning = {v.binning.name: v.binning.edges.tolist() for v in result.variables}
    figures = {
        f"closure-{part}": closure_figure(result, (part,))
        for part in ("events", "particles", "maps")
    }
    return Section("closure", tuple(result.quantities()), (), figures, {"binning": binning})


_SECTIONS: Final[dict[str, Callable[[Any], Section]]] = {
    "w1": _w1_section,
    "qclosure": _qclosure_section,
    "flow": _flow_section,
    "closure": _closure_section,
}


def _classify_section(accumulator: "ClassifyAccumulator", advance: Advance) -> Section:
    from hitools.core.plot.classify import classify_figure

    result = accumulator.result(advance)
    used, halves = result.n_used, result.n_floor
    remarks = [
        f"Used: {used[0]} events of the reference and {used[1]} of the sample.",
        f"Floor: two halves of the reference, {halves[0]} and {halves[1]} events.",
    ]
    for name, count in zip(("reference", "sample"), result.n_repeated, strict=True):
        if count:
            remarks.append(f"{count} events of the {name} occur more than once.")
    return Section(
        "classify",
        tuple(result.quantities()),
        tuple(remarks),
        {"classify": classify_figure(result)},
        result.details(),
    )


def _jets_section(comparison: "JetComparison", definition: JetDefinition) -> Section:
    from hitools.core.plot.jets import jets_pages

    result = comparison.result()
    return Section(
        "jets",
        tuple(result.quantities()),
        (definition.sentence(),),
        {f"jets-{k}": page for k, page in enumerate(jets_pages(result), start=1)},
        {"definition": definition.as_dict(), "n_jets": list(result.n_jets)},
    )
