"""The classifier test of a sample against its reference: several trainings, errors, the floor.

Each training has its own division into parts, its own initialisation and order. AUCs are
averaged over trainings; one event may be in several test parts, so the bootstrap draws events
and counts each draw in all of them. The floor is the same test between two halves of the
reference.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.compare.classify import calibration
from hitools.core.compare.classify.dataset import LabelledEvents, balanced, split
from hitools.core.compare.classify.intake import halves
from hitools.core.compare.classify.scores import RankedScores, combined_p_value
from hitools.core.compare.classify.training import TrainingOptions, train
from hitools.core.compare.quantity import Quantity
from hitools.core.features import BoolArray, Float64Array, FloatArray, IntArray

CLASSIFIERS: Final = ("event", "deepsets", "transformer")

TAILS: Final = (0.01, 0.5, 0.99)
"""Quantiles of the weights that are reported with errors and floors."""

_REPLICAS: Final = 200

Advance = Callable[[float], None]


@dataclass(frozen=True)
class ClassifyOptions:
    """A classifier test.

    Attributes:
        classifiers: names out of CLASSIFIERS.
        n_seeds: trainings of each.
        seed: of everything random.
        attended: the transformer sees at most so many particles an event (a random choice).
        training: how each is trained.
    """

    classifiers: tuple[str, ...] = ("event", "deepsets")
    n_seeds: int = 3
    seed: int = 1
    attended: int = 1024
    training: TrainingOptions = field(default_factory=TrainingOptions)


@dataclass(frozen=True, eq=False)
class Answer:
    """What one training says about its test part.

    Attributes:
        rows: (n_test,) indices into the joint sample.
        ranked: the scores of these events.
        log_weights: (n_test,) calibrated ln C/(1-C).
        epochs: of training up to the one used.
    """

    rows: IntArray
    ranked: RankedScores
    log_weights: Float64Array
    epochs: int


@dataclass(frozen=True, eq=False)
class Separation:
    """One classifier on one pair of samples.

    Attributes:
        name: of the classifier.
        is_reference: (n_events,) of the joint sample.
        weights: (n_events,) with equal sums for both classes.
        answers: one per seed.
        seed: of the bootstrap.
    """

    name: str
    is_reference: BoolArray
    weights: Float64Array
    answers: tuple[Answer, ...]
    seed: int

    @property
    def aucs(self) -> Float64Array:
        """(n_seeds,)"""
        return np.array([answer.ranked.auc() for answer in self.answers])

    @property
    def p_value(self) -> float:
        """One-sided, for both samples from one parent, over all trainings."""
        return combined_p_value(np.array([answer.ranked.p_value() for answer in self.answers]))

    @property
    def rows(self) -> IntArray:
        """Test events of all trainings one after another."""
        return np.concatenate([answer.rows for answer in self.answers])

    @property
    def log_weights(self) -> Float64Array:
        """Likewise, their ln w."""
        return np.concatenate([answer.log_weights for answer in self.answers])

    def mean_log_weights(self) -> Float64Array:
        """(n_events,) average over the trainings that tested the event, NaN where none did."""
        n_events = len(self.is_reference)
        sums = np.bincount(self.rows, self.log_weights, n_events)
        counts = np.bincount(self.rows, minlength=n_events)
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)

    @cached_property
    def statistics(self) -> dict[str, tuple[float, float]]:
        """Value and bootstrap error by name: auc, weight_mean, weight_share and the tails."""
        values = self._statistics(np.ones(len(self.is_reference)))
        replicas = [self._statistics(drawn) for drawn in self._replicas()]
        errors = np.std([list(replica.values()) for replica in replicas], axis=0, ddof=1)
        return {
            name: (value, float(error))
            for (name, value), error in zip(values.items(), errors, strict=True)
        }

    def _replicas(self) -> Iterator[FloatArray]:
        rng = np.random.default_rng([self.seed, 0xB007])
        classes = (np.flatnonzero(self.is_reference), np.flatnonzero(~self.is_reference))
        for _ in range(_REPLICAS):
            drawn = np.zeros(len(self.is_reference))
            for members in classes:
                picked = rng.integers(len(members), size=len(members))
                drawn[members] = np.bincount(picked, minlength=len(members))
            yield drawn

    def _statistics(self, drawn: FloatArray) -> dict[str, float]:
        rows, ln_w = self._by_weight
        aucs = [answer.ranked.auc(drawn[answer.rows]) for answer in self.answers]
        counted = self.weights[rows] * drawn[rows]
        found = {"auc": float(np.mean(aucs))}
        for which, chosen in (
            ("reference", self.is_reference[rows]),
            ("sample", ~self.is_reference[rows]),
        ):
            w, v = np.exp(ln_w[chosen]), counted[chosen]
            if which == "sample":
                found["weight_mean"] = float(v @ w / v.sum())
                found["weight_share"] = float((v @ w) ** 2 / (v @ w**2) / v.sum())
            cumulative = (np.cumsum(v) - v / 2) / v.sum()
            for share, quantile in zip(TAILS, np.interp(TAILS, cumulative, w), strict=True):
                found[f"weight_{_percent(share)}.{which}"] = float(quantile)
        return found

    @cached_property
    def _by_weight(self) -> tuple[IntArray, Float64Array]:
        order = np.argsort(self.log_weights, kind="stable")
        return self.rows[order], self.log_weights[order]


def _percent(share: float) -> str:
    """0.01 -> "1%", as in the names of quantities."""
    return f"{100 * share:g}%"


@dataclass(frozen=True, eq=False)
class ClassifierResult:
    """One classifier's verdict, and its floor.

    Attributes:
        observed: reference against sample.
        floor: two halves of the reference; None where the input was one sample.
    """

    observed: Separation
    floor: Separation | None

    @property
    def name(self) -> str:
        """Of the classifier."""
        return self.observed.name

    def quantities(self) -> list[Quantity]:
        """auc, auc_spread, p_value and the weights of this classifier."""
        floors = self.floor.statistics if self.floor else {}
        numbers = self.observed.statistics

        def of_weights(name: str) -> Quantity:
            stem, _, which = name.partition(".")
            full = f"{stem}.{self.name}" + (f".{which}" if which else "")
            return Quantity(full, *numbers[name], floors.get(name, (math.nan, 0))[0])

        floor_auc = floors.get("auc", (math.nan, 0))[0]
        listed = [
            Quantity(f"auc.{self.name}", *numbers["auc"], floor_auc),
            Quantity(
                f"p_value.{self.name}",
                self.observed.p_value,
                floor=self.floor.p_value if self.floor else math.nan,
            ),
        ]
        if len(self.observed.answers) > 1:
            spread = np.std(self.observed.aucs, ddof=1)
            floor = np.std(self.floor.aucs, ddof=1) if self.floor else math.nan
            listed.insert(1, Quantity(f"auc_spread.{self.name}", float(spread), floor=float(floor)))
        return listed + [of_weights(name) for name in numbers if name != "auc"]


def compare(
    reference: EventBatch,
    sample: EventBatch,
    options: ClassifyOptions,
    advance: Advance = lambda share: None,  # noqa: ARG005
) -> list[ClassifierResult]:
    """Every classifier on (reference, sample), and on two halves of the reference.

    The halves have n/2 events of the reference, and as many or, where the sample has fewer, as
    many as the sample.

    Args:
        reference: at least 2 intake.MIN_EVENTS events.
        sample: at least intake.MIN_EVENTS events.
        options: which classifiers, and how.
        advance: told the number of trainings done since the last call; n_trainings() in all.
    """
    first, second = _halves(reference, len(sample), options)
    observed = _separations(reference, sample, options, advance)
    floors = _separations(first, second, options, advance)
    return [ClassifierResult(*pair) for pair in zip(observed, floors, strict=True)]


def compare_halves(
    batch: EventBatch,
    options: ClassifyOptions,
    advance: Advance = lambda share: None,  # noqa: ARG005
) -> list[ClassifierResult]:
    """Every classifier on two halves of one sample, which should not differ.

    Args:
        batch: at least 2 intake.MIN_EVENTS events.
        options: which classifiers, and how.
        advance: told the number of trainings done since the last call.
    """
    first, second = _halves(batch, len(batch), options)
    return [
        ClassifierResult(separation, None)
        for separation in _separations(first, second, options, advance)
    ]


def n_trainings(options: ClassifyOptions, n_inputs: int) -> int:
    """How many trainings compare (two inputs) or compare_halves (one) do."""
    return len(options.classifiers) * options.n_seeds * n_inputs


def _halves(
    batch: EventBatch, n_second: int, options: ClassifyOptions
) -> tuple[EventBatch, EventBatch]:
    rng = np.random.default_rng([options.seed, 0x4A1F])
    first, second = halves(len(batch), n_second, rng)
    return batch.take(first), batch.take(second)


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
