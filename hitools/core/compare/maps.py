"""Two-dimensional ratio maps: sample over reference in common bins (paper, Fig. 4 and 6)."""

from dataclasses import dataclass

import numpy as np

from hitools.core.compare import bootstrap
from hitools.core.compare.histogram import normalised
from hitools.core.features import BoolArray, Float64Array


@dataclass(frozen=True)
class Score:
    """Mean and median over bins of sample / reference.

    Attributes:
        mean: over all bins where the reference is populated, each bin counting once.
        median: over the same bins.
        mean_95: over the bins that hold the most populated 95% of the reference.
        median_95: over the same bins.
    """

    mean: float
    median: float
    mean_95: float
    median_95: float

    def as_array(self) -> Float64Array:
        """(4,) in the order of the attributes."""
        return np.array([self.mean, self.median, self.mean_95, self.median_95])


@dataclass(frozen=True)
class RatioMap:
    """Two maps of unit sum (or per trigger) and their ratio.

    Attributes:
        x_edges: (nx + 1,)
        y_edges: (ny + 1,)
        reference: (nx, ny) content of the reference.
        sample: (nx, ny)
        ratio: (nx, ny) sample / reference, NaN where the reference is empty.
        ratio_error: (nx, ny)
        core: (nx, ny) the bins that hold the most populated 95% of the reference.
        score: mean and median of the ratio.
        score_error: (4,) bootstrap error of each.
        score_floor: (4,) the same between halves of the reference, averaged over splits.
    """

    x_edges: Float64Array
    y_edges: Float64Array
    reference: Float64Array
    sample: Float64Array
    ratio: Float64Array
    ratio_error: Float64Array
    core: BoolArray
    score: Score
    score_error: Float64Array
    score_floor: Float64Array


def core_bins(reference: Float64Array, share: float = 0.95) -> BoolArray:
    """The fewest bins that together hold this share of the reference."""
    flat = np.sort(reference.ravel())[::-1]
    cumulative = np.cumsum(flat)
    if not cumulative[-1] > 0:
        return np.zeros(reference.shape, np.bool_)
    last = min(int(np.searchsorted(cumulative, share * cumulative[-1])), flat.size - 1)
    return (reference >= flat[last]) & (reference > 0)


def score(reference: Float64Array, sample: Float64Array) -> Score:
    """Mean and median of sample / reference over the populated bins of the reference.

    A bin counts as populated when the reference has any entry there. A bin with few entries is
    more often met when it fluctuated upwards, so the mean is biased where the edge of phase
    space is sparse; its floor has the same bias. The median hardly feels it, and the two
    numbers over the core do not.

    Args:
        reference: (nx, ny) of the same normalisation as
        sample: (nx, ny)
    """
    populated, core = reference > 0, core_bins(reference)
    if not populated.any():
        return Score(np.nan, np.nan, np.nan, np.nan)
    ratios, inner = sample[populated] / reference[populated], sample[core] / reference[core]
    return Score(
        float(ratios.mean()), float(np.median(ratios)), float(inner.mean()), float(np.median(inner))
    )


def _scores(
    a: Float64Array, a_size: Float64Array, b: Float64Array, b_size: Float64Array
) -> Float64Array:
    """(n, 4) scores of b over a for n pairs of maps with their normalisations."""
    pairs = zip(a, a_size, b, b_size, strict=True)
    return np.stack(
        [
            score(m / m_size, n / n_size).as_array()
            if m_size > 0 and n_size > 0
            else np.full(4, np.nan)
            for m, m_size, n, n_size in pairs
        ]
    )


def compare_maps(
    x_edges: Float64Array,
    y_edges: Float64Array,
    reference: Float64Array,
    sample: Float64Array,
    reference_per: Float64Array | None = None,
    sample_per: Float64Array | None = None,
    seed: int = 0,
) -> RatioMap:
    """Ratio of two grouped maps, its score, and the score's error and floor.

    Args:
        x_edges: (nx + 1,)
        y_edges: (ny + 1,)
        reference: (64, nx, ny) sums per group of events.
        sample: (64, nx, ny)
        reference_per: (64,) what to divide by; None for the map's own sum.
        sample_per: (64,)
        seed: of replicas and halves.
    """
    own = [x.sum((1, 2)) for x in (reference, sample)]
    size = own[0] if reference_per is None else reference_per
    sample_size = own[1] if sample_per is None else sample_per
    (p, p_error), (q, q_error) = normalised(reference, size), normalised(sample, sample_size)
    filled = p > 0
    safe = np.where(filled, p, 1.0)
    ratio = np.where(filled, q / safe, np.nan)

    draws = [bootstrap.resampled_groups(seed=2 * seed + side) for side in (0, 1)]
    replicas = _scores(
        bootstrap.totals(reference, draws[0]),
        bootstrap.totals(size, draws[0]),
        bootstrap.totals(sample, draws[1]),
        bootstrap.totals(sample_size, draws[1]),
    )
    halves = bootstrap.half_splits(seed=seed)
    split = _scores(
        *(bootstrap.totals(s, half) for half in (halves, ~halves) for s in (reference, size))
    )
    return RatioMap(
        x_edges=x_edges,
        y_edges=y_edges,
        reference=p,
        sample=q,
        ratio=ratio,
        ratio_error=np.where(filled, np.hypot(q_error / safe, ratio * p_error / safe), np.nan),
        core=core_bins(p),
        score=score(p, q),
        score_error=bootstrap.spread(replicas),
        score_floor=split.mean(0),
    )
