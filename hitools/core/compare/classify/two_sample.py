"""The classifier test of a sample against its reference, with its floor.

Feed both samples batch by batch; a random subset of each is held and used. Every training has
its own division into parts, initialisation and order; the floor is the same test between two
halves of the reference.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.compare.classify import calibration, intake
from hitools.core.compare.classify.dataset import LabelledEvents, balanced, split
from hitools.core.compare.classify.scores import RankedScores
from hitools.core.compare.classify.separation import Answer, ClassifierResult, Separation
from hitools.core.compare.classify.training import TrainingOptions, train
from hitools.core.compare.quantity import Quantity
from hitools.core.features import BoolArray, Float64Array, IntArray

CLASSIFIERS: Final = ("event", "deepsets", "transformer")

Advance = Callable[[float], None]


@dataclass(frozen=True)
class ClassifyOptions:
    """A classifier test.

    Attributes:
        classifiers: names out of CLASSIFIERS.
        n_seeds: trainings of each.
        max_events: of each input, at most; a random choice.
        seed: of everything random.
        attended: the transformer sees at most so many particles an event (a random choice).
        training: how each is trained.
    """

    classifiers: tuple[str, ...] = ("event", "deepsets")
    n_seeds: int = 3
    max_events: int = 20_000
    seed: int = 1
    attended: int = 1024
    training: TrainingOptions = field(default_factory=TrainingOptions)


@dataclass(frozen=True, eq=False)
class ClassifyResult:
    """Every classifier's verdict.

    Attributes:
        classifiers: in the order asked for.
        sample: the events of the sample that took part; those of the one input where there was
            only one.
        n_used: events that took part, of reference and sample (or of the two halves).
        n_floor: events in the two halves of the floor; zeros without a floor.
        n_repeated: events that occur again within reference and sample.
    """

    classifiers: tuple[ClassifierResult, ...]
    sample: EventBatch
    n_used: tuple[int, int]
    n_floor: tuple[int, int]
    n_repeated: tuple[int, int]

    def quantities(self) -> list[Quantity]:
        """All numbers, classifier by classifier."""
        return [quantity for result in self.classifiers for quantity in result.quantities()]

    def worst(self, n: int) -> tuple[EventBatch, ClassifierResult]:
        """The n events of the sample that look least like the reference, worst first.

        Only events that some training tested are candidates: of events that it trained on a
        classifier knows the label by heart. The classifier with the largest AUC decides.
        Needs a reference.

        Returns:
            At most n events, and the classifier that chose them.
        """
        judge = max(self.classifiers, key=lambda result: result.observed.statistics["auc"][0])
        log_weights = judge.observed.mean_log_weights()[self.n_used[0] :]
        order = np.argsort(log_weights, kind="stable")  # NaN, never tested, goes last
        return self.sample.take(order[: min(n, int(np.isfinite(log_weights).sum()))]), judge

    def details(self) -> dict[str, Any]:
        """More than the quantities, for JSON: sizes, and what each training found."""
        return {
            "events": {"reference": self.n_used[0], "sample": self.n_used[1]},
            "floor_events": list(self.n_floor),
            "repeated_events": {"reference": self.n_repeated[0], "sample": self.n_repeated[1]},
            "classifiers": {result.name: result.details() for result in self.classifiers},
        }


class ClassifyAccumulator:
    """Feed the reference, then the sample, batch by batch; then check and train."""

    def __init__(self, options: ClassifyOptions) -> None:
        """Nothing is trained before result()."""
        self.options = options
        self._sides = tuple(
            intake.Intake(options.max_events, options.seed + side) for side in (0, 1)
        )

    def add_reference(self, batch: EventBatch) -> None:
        """Take the next events of the reference (or of the only input)."""
        self._sides[0].add(batch)

    def add_sample(self, batch: EventBatch) -> None:
        """Take the next events of the sample."""
        self._sides[1].add(batch)

    @property
    def n_events(self) -> tuple[int, int]:
        """Events fed so far."""
        return self._sides[0].n_events, self._sides[1].n_events

    def check(self, names: tuple[str, ...]) -> None:
        """Raise InputError for too few events, and for an event that is in both inputs.

        Args:
            names: of the one or two inputs, for messages.
        """
        intake.require_enough(self.n_events[0], names[0], halved=True)
        if len(names) == 2:
            intake.require_enough(self.n_events[1], names[1])
            reference, sample = (side.fingerprints() for side in self._sides)
            intake.require_disjoint(reference, sample, names[0], names[1])

    def n_trainings(self) -> int:
        """How many result() will do."""
        pairs = 2 if self.n_events[1] else 1
        return len(self.options.classifiers) * self.options.n_seeds * pairs

    def result(self, advance: Advance = lambda share: None) -> ClassifyResult:  # noqa: ARG005
        """Train all classifiers on both samples, or on two halves of the only one.

        The halves of a floor have n/2 events of the reference, and as many or, where the sample
        has fewer, as many as the sample.

        Args:
            advance: told the number of trainings done since the last call; n_trainings in all.
        """
        options = self.options
        reference, sample = (side.batch() for side in self._sides)
        rng = np.random.default_rng([options.seed, 0x4A1F])
        rows = intake.halves(len(reference), len(sample) or len(reference), rng)
        first, second = (reference.take(half) for half in rows)
        of_halves = _separations(first, second, options, advance)
        if len(sample):
            observed = _separations(reference, sample, options, advance)
            results = [ClassifierResult(*pair) for pair in zip(observed, of_halves, strict=True)]
            n_used, n_floor = (len(reference), len(sample)), (len(first), len(second))
        else:
            results = [ClassifierResult(separation, None) for separation in of_halves]
            n_used, n_floor = (len(first), len(second)), (0, 0)
            sample = second
        repeated = [intake.n_repeated(side.fingerprints()) for side in self._sides]
        return ClassifyResult(tuple(results), sample, n_used, n_floor, (repeated[0], repeated[1]))


def _separations(
    reference: EventBatch, sample: EventBatch, options: ClassifyOptions, advance: Advance
) -> list[Separation]:
    data = LabelledEvents.from_batches(reference, sample)
    found = []
    for name in options.classifiers:
        seen = data.thinned(options.attended, options.seed) if name == "transformer" else data
        answers = tuple(_answer(name, seen, options, k, advance) for k in range(options.n_seeds))
        found.append(Separation(name, data.is_reference, data.weights, answers, options.seed))
    return found


def _answer(
    name: str, data: LabelledEvents, options: ClassifyOptions, which: int, advance: Advance
) -> Answer:
    sequence = np.random.SeedSequence([options.seed, which])
    seed = int(sequence.generate_state(1, np.uint64)[0] >> 1)
    # All classifiers of one index share their division, so that their AUCs can be compared.
    parts = split(data.is_reference, np.random.default_rng([seed, 0x5B17]))
    fitted = train(name, data, parts, options.training, seed, advance)

    def labels(rows: IntArray) -> tuple[BoolArray, Float64Array]:
        is_reference = data.is_reference[rows]
        return is_reference, balanced(data.weights[rows], is_reference)

    calibrated = calibration.fit(fitted.validation, *labels(parts.validation))
    return Answer(
        rows=parts.test,
        ranked=RankedScores.of(fitted.test, *labels(parts.test)),
        log_weights=calibrated.log_weights(fitted.test),
        epochs=fitted.epochs,
    )
