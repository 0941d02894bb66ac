"""How well scores separate two weighted samples: ROC, AUC, and the chance of no difference.

The AUC is the probability that an event of the reference scores above one of the sample, ties
counted half: the Mann-Whitney statistic divided by the number of pairs, every event counted with
its weight.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import stdtr

from hitools.core.features import BoolArray, Float64Array, FloatArray, IntArray

_ROUNDING: Final = 1e-30
"""The variance of a difference of mean mid-ranks where all are equal."""


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

    def p_value(self) -> float:
        """One-sided: the chance of an AUC at least this high where both samples have one parent.

        AUC - 1/2 is the difference of the weighted means that the two samples have of the
        mid-ranks. It is studentised as Welch does, by the jackknife: u_i is what event i adds to
        it. Few heavy events make it skew, which Hall's transformation removes (J. R. Stat. Soc. B
        54 (1992) 221). They are few to judge its deviation by, too: it has
        (sum u^2)^2 / sum u^4 degrees of freedom.
        """
        u = self.jackknife()
        variance = float(u @ u)
        if variance < _ROUNDING:  # each sample has one score, so that the AUC is 0, 1/2 or 1
            return float(self.auc() < 0.75)
        t = (self.auc() - 0.5) / math.sqrt(variance)
        skewness = float((u**3).sum()) / variance**1.5
        symmetric = t + skewness * t**2 / 3 + skewness**2 * t**3 / 27 + skewness / 6
        return float(stdtr(variance**2 / float((u**4).sum()), -symmetric))

    def jackknife(self) -> Float64Array:
        """(n,) the difference of the mean mid-ranks less that without each event."""
        mid_rank = self.mid_ranks()
        found = np.empty(len(mid_rank))
        for members, sign in ((self.is_reference, 1), (~self.is_reference, -1)):
            weights = self.weights[members]
            left = np.maximum(weights.sum() - weights, np.finfo(float).tiny)  # a lone event
            mean = weights @ mid_rank[members] / weights.sum()
            found[members] = sign * weights / left * (mid_rank[members] - mean)
        return found

    def mid_ranks(self) -> Float64Array:
        """(n,) 0 to 1, in both samples, each with its effective number of events."""
        joint = np.zeros(int(self.rank.max()) + 1)
        for content, members in zip(
            self.contents(), (self.is_reference, ~self.is_reference), strict=True
        ):
            joint += content * content.sum() / (self.weights[members] ** 2).sum()
        return ((np.cumsum(joint) - joint / 2) / joint.sum())[self.rank]


def combined_p_value(p_values: FloatArray) -> float:
    """One p-value from several that depend on each other in an unknown way.

    min(1, K/k p_(k)) with the k-th smallest of K is a valid p-value under any dependence
    (Rueger 1978); k = (K + 1) // 2 takes about twice the median.
    """
    ordered = np.sort(p_values)
    k = (len(ordered) + 1) // 2
    return min(1.0, float(ordered[k - 1]) * len(ordered) / k)
