"""Wasserstein distance of one observable, with bootstrap error and floor, in bounded memory."""

from dataclasses import dataclass

import numpy as np

from hitools.core.compare import bootstrap
from hitools.core.compare.sketch import Grid, Sketch
from hitools.core.compare.wasserstein import (
    BinnedValues,
    binned_wasserstein,
    wasserstein,
    wasserstein_circle,
)
from hitools.core.features import BoolArray, Float64Array


@dataclass(frozen=True)
class Measured:
    """A number with its bootstrap error and its floor; NaN for what is not known."""

    value: float = np.nan
    error: float = np.nan
    floor: float = np.nan


def share_grid(reference: Sketch, sample: Sketch) -> None:
    """Give both sides the same bins, unless they have them already."""
    if not reference.frozen:
        grid = Grid.around(np.concatenate([reference.values()[0], sample.values()[0]]))
        for sketch in (reference, sample):
            sketch.freeze(grid)


def distance(
    reference: Sketch, sample: Sketch, scale: float, *, periodic: bool, seed: int
) -> tuple[Measured, float]:
    """W1 between two sides that both have values.

    Args:
        reference: one side.
        sample: the other.
        scale: what turns a distance between halves of the reference into a floor; see
            bootstrap.floor_scale.
        periodic: an angle in (-pi, pi], measured along the circle.
        seed: of the bootstrap and the halves.

    Returns:
        The distance, and within which bound of it the exact one lies: 0 while all values are held.
    """
    share_grid(reference, sample)
    ends = min(reference.low, sample.low), max(reference.high, sample.high)
    edges = _edges(reference.grid, ends, coarse=True, periodic=periodic)
    sums = reference.coarse_bins()
    first, second = (bootstrap.resampled_groups(seed=2 * seed + side) for side in (0, 1))
    halves = bootstrap.half_splits(seed=seed)
    boot = _between(edges, sums, first, sample.coarse_bins(), second, periodic=periodic)
    split = _between(edges, sums, halves, sums, ~halves, periodic=periodic)
    error, floor = float(bootstrap.spread(boot)), scale * mean_of_known(split)
    if reference.exact:
        (p, p_weights), (q, q_weights) = reference.values(), sample.values()
        measure = wasserstein_circle if periodic else wasserstein
        return Measured(measure(p, q, p_weights, q_weights), error, floor), 0.0
    fine = _edges(reference.grid, ends, coarse=False, periodic=periodic)
    bracket = binned_wasserstein(fine, reference.fine_bins(), sample.fine_bins(), periodic)
    return Measured(float(bracket.value), error, floor), float(bracket.bound)


def mean_of_known(values: Float64Array) -> float:
    """The mean of what is finite; NaN where nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else np.nan


def _edges(grid: Grid, ends: tuple[float, float], *, coarse: bool, periodic: bool) -> Float64Array:
    """Edges from the lowest to the highest value, or around the circle once."""
    if not periodic:
        return grid.edges(coarse, *ends)
    # float32(pi) lies above pi
    return np.clip(grid.edges(coarse, *ends), min(ends[0], -np.pi), max(ends[1], np.pi))


def _between(
    edges: Float64Array,
    p: tuple[Float64Array, Float64Array],
    p_draws: Float64Array | BoolArray,
    q: tuple[Float64Array, Float64Array],
    q_draws: Float64Array | BoolArray,
    *,
    periodic: bool,
) -> Float64Array:
    """(n_draws,) W1 between the groups drawn from p and those drawn from q."""
    p_bins, q_bins = (
        BinnedValues(*(bootstrap.totals(kept, draws) for kept in sums))
        for sums, draws in ((p, p_draws), (q, q_draws))
    )
    with np.errstate(invalid="ignore"):  # a draw without a single entry has no distance
        return np.asarray(binned_wasserstein(edges, p_bins, q_bins, periodic).value)
