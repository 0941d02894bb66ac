"""How well scores separate two weighted samples: ROC, AUC, and the chance of no difference.

The AUC is the probability that an event of the reference scores above one of the sample, ties
counted half: the Mann-Whitney statistic divided by the number of pairs, every event counted with
its weight.
"""

import math
from dataclasses import dataclass

import numpy as np

from hitools.core.features import BoolArray, Float64Array, FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class RankedScores:
    """Scores reduced to their order, so that other weights cost no other sort.

    Attributes:
        rank: (n,) 0 for the lowest score; equal scores share a rank.
        is_reference: (n,) bool.
        weights: (n,)
    """

    rank: IntArray
    is_reference: BoolArray
    weights: Float64Array

    @classmethod
    def of(
        cls, scores: FloatArray, is_reference: BoolArray, weights: Float64Array
    ) -> "RankedScores":
        """Rank these scores."""
        rank = np.unique(scores, return_inverse=True)[1]
        return cls(rank, is_reference, weights)

    def contents(self, multiplicity: FloatArray | None = None) -> tuple[Float64Array, Float64Array]:
        """Weight of the reference and of the sample at each rank.

        Args:
            multiplicity: (n,) how often each event is counted (bootstrap); None for once.
        """
        weights = self.weights if multiplicity is None else self.weights * multiplicity
        n_ranks = int(self.rank.max()) + 1
        reference = np.bincount(self.rank, weights * self.is_reference, n_ranks).astype(np.float64)
        sample = np.bincount(self.rank, weights * ~self.is_reference, n_ranks).astype(np.float64)
        return reference, sample

    def auc(self, multiplicity: FloatArray | None = None) -> float:
        """Area under the ROC curve."""
        reference, sample = self.contents(multiplicity)
        below = np.cumsum(sample) - sample / 2
        return float(reference @ below / (reference.sum() * sample.sum()))

    def roc(self) -> tuple[Float64Array, Float64Array]:
        """Share of the sample and of the reference above each threshold, from (0, 0) to (1, 1)."""
        above = [np.concatenate([[0.0], np.cumsum(x[::-1])]) for x in self.contents()]
        reference, sample = (x / x[-1] for x in above)
        return sample, reference

    def null_deviation(self) -> float:
        """Standard deviation of the AUC where both samples have one parent.

        With the mid-ranks F (0 to 1) of the joint sample, AUC - 1/2 is then the difference of
        the two weighted means of F, so that its variance is
        sum w_i^2 (F_i - 1/2)^2 / (sum w_i)^2, summed over both samples. Without weights and with
        equal sizes this is the textbook variance of the Mann-Whitney statistic with its
        correction for ties, up to a factor 1 - 1/n.
        """
        squares = [
            np.bincount(self.rank, (self.weights**2) * chosen)
            for chosen in (self.is_reference, ~self.is_reference)
        ]
        totals = [content.sum() for content in self.contents()]
        # Each sample enters the joint one with its effective number of events.
        joint = sum(
            content * total / square.sum()
            for content, total, square in zip(self.contents(), totals, squares, strict=True)
        )
        mid_rank = (np.cumsum(joint) - joint / 2) / joint.sum()
        variance = sum(
            float(square @ (mid_rank[: len(square)] - 0.5) ** 2) / total**2
            for square, total in zip(squares, totals, strict=True)
        )
        return math.sqrt(variance)

    def p_value(self) -> float:
        """One-sided: the chance of an AUC at least this high where both samples have one parent.

        Normal approximation of the (weighted, tie-corrected) Mann-Whitney statistic. Where weights
        vary by a factor of two along the scores, a p below 0.05 comes by chance in 8% of
        comparisons of 220 events, in 6% of 1,000.
        """
        deviation = self.null_deviation()
        if deviation == 0:
            return 1.0  # all scores are equal
        return math.erfc((self.auc() - 0.5) / deviation / math.sqrt(2)) / 2


def combined_p_value(p_values: FloatArray) -> float:
    """One p-value from several that depend on each other in an unknown way.

    min(1, K/k p_(k)) with the k-th smallest of K is a valid p-value under any dependence
    (Rueger 1978); k = (K + 1) // 2 takes about twice the median.
    """
    ordered = np.sort(p_values)
    k = (len(ordered) + 1) // 2
    return min(1.0, float(ordered[k - 1]) * len(ordered) / k)
