"""What the trainings of one classifier found: AUC, weights, errors, floor, as quantities.

AUCs are averaged over trainings. An event may be in several test parts, so the bootstrap draws
events and counts each draw in all of them.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from hitools.core.compare.classify.scores import RankedScores, combined_p_value
from hitools.core.compare.quantity import Quantity
from hitools.core.features import BoolArray, Float64Array, FloatArray, IntArray

TAILS: Final = (0.01, 0.5, 0.99)
"""Quantiles of the weights that are reported with errors and floors."""

ALL_TAILS: Final = (0.0, 0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999, 1.0)

_REPLICAS: Final = 200


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

    def mean_roc(self, share_of_sample: Float64Array) -> Float64Array:
        """Share of the reference kept where this share of the sample is kept, mean of all seeds.

        Args:
            share_of_sample: (n,) false positive rates.

        Returns:
            (n,) true positive rates.
        """
        curves = [np.interp(share_of_sample, *answer.ranked.roc()) for answer in self.answers]
        return np.mean(curves, axis=0)

    def details(self) -> dict[str, Any]:
        """For JSON: AUC, p-value and epochs of each training, the ROC, quantiles of the weights."""
        share = np.linspace(0, 1, 101)
        rows, ln_w = self._by_weight
        quantiles = {}
        for which, chosen in (
            ("reference", self.is_reference[rows]),
            ("sample", ~self.is_reference[rows]),
        ):
            w = weighted_quantiles(np.exp(ln_w[chosen]), self.weights[rows][chosen], ALL_TAILS)
            quantiles[which] = w.tolist()
        return {
            "auc": self.aucs.tolist(),
            "p_value": [answer.ranked.p_value() for answer in self.answers],
            "epochs": [answer.epochs for answer in self.answers],
            "roc": {"sample": share.tolist(), "reference": self.mean_roc(share).tolist()},
            "weight_quantiles": {"at": list(ALL_TAILS), **quantiles},
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
            for share, quantile in zip(TAILS, weighted_quantiles(w, v, TAILS), strict=True):
                found[f"weight_{_percent(share)}.{which}"] = float(quantile)
        return found

    @cached_property
    def _by_weight(self) -> tuple[IntArray, Float64Array]:
        order = np.argsort(self.log_weights, kind="stable")
        return self.rows[order], self.log_weights[order]


def weighted_quantiles(
    ordered: Float64Array, weights: Float64Array, at: tuple[float, ...]
) -> Float64Array:
    """Quantiles of ascending values, each standing for its share of the weight."""
    middle = (np.cumsum(weights) - weights / 2) / weights.sum()
    return np.interp(at, middle, ordered)


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

    def details(self) -> dict[str, Any]:
        """What each training found, for JSON."""
        return {
            "observed": self.observed.details(),
            "floor": self.floor.details() if self.floor else None,
        }
