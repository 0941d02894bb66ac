"""Histograms of two samples: binning that follows the reference, ratio, chi2, separation.

A histogram is an array of sums per group of events (see bootstrap) and per bin, with a bin for
what lies below and one for what lies above, so that errors know of the correlations inside an
event and nothing falls out of the comparison.
"""

import math
from dataclasses import dataclass

import numpy as np

from hitools.core.compare.bootstrap import N_GROUPS, jackknife_error, left_out
from hitools.core.features import BoolArray, Float64Array, FloatArray, IntArray


def robust_edges(
    values: FloatArray,
    n_bins: int = 50,
    *,
    log: bool = False,
    whole_numbers: bool = False,
    limits: tuple[float, float] | None = None,
) -> Float64Array:
    """Bin edges that follow a sample, not its outliers.

    The range is that of the central 99.9% of the values. An end within 5% of that range of the
    extreme value moves out to it, so that a sharp edge (acceptance, zero) is an edge of the
    histogram. Logarithmic bins reach up to the largest value: they are for falling spectra,
    whose tail is the point.

    Args:
        values: (n,) of the reference, n > 0.
        n_bins: number of bins; fewer where whole numbers leave no more.
        log: equal bins in the logarithm; values must be positive (others are left out).
        whole_numbers: edges halfway between integers, every bin equally many integers wide.
        limits: known range of the variable, taken as it is (an angle).

    Returns:
        (n_bins + 1,) float64 ascending.

    Raises:
        ValueError: without a finite (for log: positive) value.
    """
    values = values[np.isfinite(values) & (values > 0)] if log else values[np.isfinite(values)]
    if values.size == 0:
        raise ValueError("no finite value to choose bins from")
    if limits is not None:
        low, high = limits
    else:
        low, high = _robust_range(np.log(values), keep_high=True) if log else _robust_range(values)
        low, high = (math.exp(low), math.exp(high)) if log else (low, high)
    if whole_numbers:
        low, high = math.floor(low + 0.5) - 0.5, math.floor(high + 0.5) + 0.5
        step = max(1, math.ceil((high - low) / n_bins))
        return low + step * np.arange(math.ceil((high - low) / step) + 1, dtype=np.float64)
    if low == high:
        low, high = low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0)
        log = log and low > 0
    if log:
        return np.geomspace(low, high, n_bins + 1)
    return np.linspace(low, high, n_bins + 1)


def _robust_range(values: FloatArray, keep_high: bool = False) -> tuple[float, float]:
    low, high = (float(x) for x in np.quantile(values, (0.0005, 0.9995)))
    lowest, highest = float(values.min()), float(values.max())
    margin = 0.05 * (high - low)
    return (
        lowest if low - lowest <= margin else low,
        highest if keep_high or highest - high <= margin else high,
    )


def bin_index(values: FloatArray, edges: Float64Array) -> IntArray:
    """(n,) bin of each value: 0 below, k in [edges[k-1], edges[k]), n_bins + 1 above.

    The last bin includes the last edge. Edges are compared in the precision of the values, so
    that a float32 value equal to an edge does not depend on the edge's further digits.
    """
    edges = edges.astype(values.dtype)
    index = np.searchsorted(edges, values, side="right")
    index[values == edges[-1]] = len(edges) - 1
    return index


def grouped_histogram(
    values: FloatArray,
    edges: Float64Array,
    groups: IntArray,
    weights: FloatArray | None = None,
) -> Float64Array:
    """Histogram per group of events.

    Args:
        values: (n,) entries.
        edges: (n_bins + 1,) ascending.
        groups: (n,) group of the event each entry belongs to.
        weights: (n,) weight of each entry; None for 1.

    Returns:
        (64, n_bins + 2) float64: below, the bins, above.
    """
    n_cells = len(edges) + 1
    cell = groups * n_cells + bin_index(values, edges)
    counts = np.bincount(cell, weights, N_GROUPS * n_cells)
    return counts.reshape(N_GROUPS, n_cells).astype(np.float64)


def normalised(
    sums: Float64Array, per: Float64Array | None = None
) -> tuple[Float64Array, Float64Array]:
    """A histogram divided by its own total or by a count, with jackknife errors over groups.

    Args:
        sums: (64, n_bins) or (64, nx, ny).
        per: (64,) sum per group of what to divide by (triggers, events, jets); None for the
            total content of the histogram.

    Returns:
        Value and standard error, each of the shape of one group.
    """
    axes = (slice(None),) + (None,) * (sums.ndim - 1)
    size = sums.reshape(N_GROUPS, -1).sum(1) if per is None else per
    total, total_size = sums.sum(0), size.sum()
    if not total_size > 0:
        return np.full(total.shape, np.nan), np.full(total.shape, np.nan)
    used = (size != 0) & (size < total_size)
    if used.sum() < 2:
        return total / total_size, np.full(total.shape, np.nan)
    errors = jackknife_error(left_out(sums, used) / left_out(size, used)[axes])
    return total / total_size, errors


@dataclass(frozen=True)
class RatioComparison:
    """One variable of two samples in common bins.

    Attributes:
        edges: (n_bins + 1,)
        reference: (n_bins,) density of the reference (share of its total per unit of the
            variable; total / `per` where that was given), entries outside the edges counted in
            the total.
        reference_error: (n_bins,) its standard error.
        sample: (n_bins,) density of the sample.
        sample_error: (n_bins,)
        ratio: (n_bins,) sample / reference, NaN where the reference is empty.
        ratio_error: (n_bins,) from both samples.
        chi2: over bins joined until the reference is known to 30% in each, those below and
            above the edges included.
        ndf: number of joined bins.
        separation: see separation_power.
    """

    edges: Float64Array
    reference: Float64Array
    reference_error: Float64Array
    sample: Float64Array
    sample_error: Float64Array
    ratio: Float64Array
    ratio_error: Float64Array
    chi2: float
    ndf: int
    separation: float

    @property
    def chi2_ndf(self) -> float:
        """chi2 per joined bin; its expectation is 1 for samples of one parent."""
        return self.chi2 / self.ndf if self.ndf else math.nan

    @property
    def chi2_ndf_error(self) -> float:
        """Standard deviation of chi2/ndf: sqrt(2 ndf + 4 max(0, chi2 - ndf)) / ndf."""
        if not self.ndf:
            return math.nan
        return math.sqrt(2 * self.ndf + 4 * max(0.0, self.chi2 - self.ndf)) / self.ndf


def separation_power(p: Float64Array, q: Float64Array) -> float:
    """<S^2> = 1/2 sum (p - q)^2 / (p + q) of two histograms of unit sum: 0 equal, 1 disjoint."""
    both = p + q
    filled = both > 0
    return float(np.sum((p - q)[filled] ** 2 / both[filled]) / 2)


def joined_bins(value: Float64Array, error: Float64Array) -> IntArray:
    """(n_bins,) index of the joined bin of each bin, from left to right.

    Neighbours are joined until the relative error of the content is at most 0.3 (errors added
    as if independent); what is left over at the end goes to the last one. A Gaussian chi2 wants
    about ten entries in a bin.
    """
    joined = np.zeros(len(value), np.int64)
    current, content, variance = 0, 0.0, 0.0
    for k, (v, e) in enumerate(zip(value, error, strict=True)):
        joined[k] = current
        content, variance = content + v, variance + e**2
        if content > 0 and math.sqrt(variance) <= 0.3 * content:
            current, content, variance = current + 1, 0.0, 0.0
    # Nothing was closed after the last complete bin: give the rest to it.
    return np.minimum(joined, max(current - 1, 0))


def chi2_of(
    reference: Float64Array,
    sample: Float64Array,
    reference_per: Float64Array | None = None,
    sample_per: Float64Array | None = None,
) -> tuple[float, int]:
    """chi2 of two grouped histograms and the number of joined bins.

    Errors are those of the normalised contents, so that the expectation of chi2 for samples of
    one parent is the number of bins whatever the correlations between bins are (those only
    widen its spread).

    Args:
        reference: (64, n_cells) sums per group.
        sample: (64, n_cells)
        reference_per: see normalised.
        sample_per: see normalised.
    """
    value, error = normalised(reference, reference_per)
    if not np.all(np.isfinite(error)):
        return math.nan, 0
    joined = joined_bins(value, error)
    n_joined = int(joined.max()) + 1
    member = np.zeros((len(value), n_joined))
    member[np.arange(len(value)), joined] = 1
    p, p_error = normalised(reference @ member, _sizes(reference, reference_per))
    q, q_error = normalised(sample @ member, _sizes(sample, sample_per))
    variance = p_error**2 + q_error**2
    usable = np.isfinite(variance) & (variance > 0)
    chi2 = np.sum((p - q)[usable] ** 2 / variance[usable])
    return float(chi2), int(usable.sum())


def _sizes(sums: Float64Array, per: Float64Array | None) -> Float64Array:
    return sums.sum(1) if per is None else per


def compare_histograms(
    edges: Float64Array,
    reference: Float64Array,
    sample: Float64Array,
    reference_per: Float64Array | None = None,
    sample_per: Float64Array | None = None,
) -> RatioComparison:
    """Densities, ratio, chi2 and separation of two grouped histograms.

    Args:
        edges: (n_bins + 1,)
        reference: (64, n_bins + 2) from grouped_histogram.
        sample: (64, n_bins + 2)
        reference_per: (64,) what to divide the reference by; None for its own total.
        sample_per: (64,)
    """
    width = np.diff(edges)
    (p, p_error), (q, q_error) = (
        normalised(reference, reference_per),
        normalised(sample, sample_per),
    )
    p, p_error, q, q_error = (x[1:-1] / width for x in (p, p_error, q, q_error))
    filled: BoolArray = p > 0
    safe = np.where(filled, p, 1.0)
    ratio = np.where(filled, q / safe, np.nan)
    ratio_error = np.where(filled, np.hypot(q_error / safe, ratio * p_error / safe), np.nan)
    chi2, ndf = chi2_of(reference, sample, reference_per, sample_per)
    shares = [x.sum(0) / x.sum() if x.sum() > 0 else x.sum(0) for x in (reference, sample)]
    return RatioComparison(
        edges=edges,
        reference=p,
        reference_error=p_error,
        sample=q,
        sample_error=q_error,
        ratio=ratio,
        ratio_error=ratio_error,
        chi2=chi2,
        ndf=ndf,
        separation=separation_power(shares[0], shares[1]),
    )
