"""How far up a distribution the ratio of two samples stays within 10%, as a quantile.

The paper says of its jets that the ratio of the pT spectra stays within 10% up to 99.8% of the
jets. Bins of pT would make that number depend on the binning and, in the tail, on chance; here the
reference is cut into slices of its own quantiles, as narrow as the numbers of jets permit.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from hitools.core.compare import bootstrap
from hitools.core.compare.histogram import normalised
from hitools.core.features import BoolArray, Float64Array

BAND: Final = 0.10
_FEWEST: Final = 10
"""No cell of the first values holds fewer than this."""


@dataclass(frozen=True)
class Slices:
    """Two samples in common slices.

    Attributes:
        reference: (64, n) sums per group of events.
        sample: (64, n)
        error: (n,) standard error of the ratio in each slice, about 10% at most.
    """

    reference: Float64Array
    sample: Float64Array
    error: Float64Array


def reach_cells(values: Float64Array) -> Float64Array:
    """Edges of fine cells: shares of 5% up to 90%, then a quarter of what is left each time.

    Args:
        values: (n,) with n > 0, of the reference.

    Returns:
        (n_cells - 1,) ascending inner edges; at least one.
    """
    body = np.arange(1, 19) * 0.05
    left = 0.1 * 0.75 ** np.arange(200)
    shares = np.concatenate([body, 1 - left[left * len(values) >= _FEWEST]])
    return np.unique(np.quantile(values, shares))


def slices(reference: Float64Array, sample: Float64Array) -> Slices:
    """Join cells from below until the ratio of each slice is known to 10%.

    What is left over at the top belongs to the last slice.

    Args:
        reference: (64, n_cells) sums per group of events.
        sample: (64, n_cells)
    """
    totals = reference.sum(1), sample.sum(1)
    ends: list[int] = []
    errors: list[float] = []
    start = 0
    for stop in range(1, reference.shape[1] + 1):
        error = _ratio_error(reference, sample, slice(start, stop), totals)
        if error <= BAND:
            ends.append(stop)
            errors.append(error)
            start = stop
    if ends and ends[-1] < reference.shape[1]:
        ends[-1] = reference.shape[1]
        begin = ends[-2] if len(ends) > 1 else 0
        errors[-1] = _ratio_error(reference, sample, slice(begin, ends[-1]), totals)
    starts = [0, *ends[:-1]] if ends else []
    joined = [
        np.stack([sums[:, a:b].sum(1) for a, b in zip(starts, ends, strict=True)], axis=1)
        if ends
        else np.zeros((len(sums), 0))
        for sums in (reference, sample)
    ]
    return Slices(joined[0], joined[1], np.array(errors))


def _ratio_error(
    reference: Float64Array,
    sample: Float64Array,
    cells: slice,
    totals: tuple[Float64Array, Float64Array],
) -> float:
    """Relative standard error of the ratio of the shares in these cells."""
    squares = 0.0
    for sums, per in zip((reference, sample), totals, strict=True):
        content = sums[:, cells].sum(1, keepdims=True)
        if not content.any():
            return np.inf
        value, error = normalised(content, per)
        squares += float(error[0] / value[0]) ** 2
    return float(np.sqrt(squares)) if np.isfinite(squares) else np.inf


def reach(joined: Slices) -> float:
    """The share of the reference below the first slice whose ratio is off by more than 10%.

    A ratio may be off by twice its standard error on top, so that chance alone rarely ends the
    search. 1 where no slice is off; NaN where there are not two slices.
    """
    every = np.ones((1, len(joined.reference)))
    return float(reach_of_draws(joined, every, every)[0])


def reach_of_draws(
    joined: Slices, draws: Float64Array | BoolArray, sample_draws: Float64Array | BoolArray
) -> Float64Array:
    """The same for groups drawn with these multiplicities.

    Args:
        joined: the slices.
        draws: (n, 64) of the reference.
        sample_draws: (n, 64) of the sample.

    Returns:
        (n,) shares.
    """
    if joined.reference.shape[1] < 2:
        return np.full(len(draws), np.nan)
    p, q = (
        bootstrap.totals(sums, drawn)
        for sums, drawn in ((joined.reference, draws), (joined.sample, sample_draws))
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        share = p / p.sum(1, keepdims=True)
        ratio = q / q.sum(1, keepdims=True) / share
    outside = np.abs(ratio - 1) > BAND + 2 * joined.error
    first = np.where(outside.any(1), outside.argmax(1), share.shape[1])
    below = np.concatenate([np.zeros((len(share), 1)), np.cumsum(share, axis=1)], axis=1)
    return np.minimum(below[np.arange(len(share)), first], 1.0)
