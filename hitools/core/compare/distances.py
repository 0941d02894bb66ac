"""W1 of one variable between two samples, with what its error and its floor are made from.

For hi-w1 and hi-jets, which keep a Sketch of every variable of either sample. Memory stays
bounded: replicas come from the sketches' coarse bins, the distance itself from all values or,
where these were given up, from the fine bins.
"""

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
class Replicas:
    """A distance, and distances of resampled events.

    Attributes:
        value: W1 between reference and sample, in the variable's unit.
        bound: the exact distance lies within this of value; 0 where it is exact.
        bootstrap: (n_replicas,) W1 between resampled reference and resampled sample.
        halves: (n_splits,) W1 between two halves of the reference.
    """

    value: float
    bound: float
    bootstrap: Float64Array
    halves: Float64Array


def share_grid(reference: Sketch, sample: Sketch) -> None:
    """Give both sides the same bins, unless they have them already."""
    if not reference.frozen:
        grid = Grid.around(np.concatenate([reference.values()[0], sample.values()[0]]))
        for sketch in (reference, sample):
            sketch.freeze(grid)


def between(reference: Sketch, sample: Sketch, *, periodic: bool, seed: int) -> Replicas:
    """W1 between two sides that both have values.

    Args:
        reference: one side.
        sample: the other.
        periodic: an angle in (-pi, pi], measured along the circle.
        seed: of the bootstrap and the halves.
    """
    share_grid(reference, sample)
    draws = [bootstrap.resampled_groups(seed=2 * seed + side) for side in (0, 1)]
    edges = _edges(reference, sample, coarse=True, periodic=periodic)
    sums = reference.coarse_bins(), sample.coarse_bins()
    return Replicas(
        *_value_and_bound(reference, sample, periodic=periodic),
        bootstrap=_drawn(edges, sums[0], draws[0], sums[1], draws[1], periodic=periodic),
        halves=_split(edges, sums[0], periodic=periodic, seed=seed),
    )


def between_halves(sketch: Sketch, *, periodic: bool, seed: int) -> Replicas:
    """The mean W1 between random halves of one side, whose grid is set; there is no bound."""
    edges = _edges(sketch, sketch, coarse=True, periodic=periodic)
    split = _split(edges, sketch.coarse_bins(), periodic=periodic, seed=seed)
    return Replicas(float(split.mean()), 0.0, split, split)


def _value_and_bound(reference: Sketch, sample: Sketch, *, periodic: bool) -> tuple[float, float]:
    if reference.exact:
        (p, p_weights), (q, q_weights) = reference.values(), sample.values()
        measure = wasserstein_circle if periodic else wasserstein
        return measure(p, q, p_weights, q_weights), 0.0
    edges = _edges(reference, sample, coarse=False, periodic=periodic)
    bracket = binned_wasserstein(edges, reference.fine_bins(), sample.fine_bins(), periodic)
    return float(bracket.value), float(bracket.bound)


def _edges(one: Sketch, other: Sketch, *, coarse: bool, periodic: bool) -> Float64Array:
    """Edges from the lowest to the highest value, or around the circle once."""
    low, high = min(one.low, other.low), max(one.high, other.high)
    edges = one.grid.edges(coarse, low, high)
    if not periodic:
        return edges
    # float32(pi) lies above pi
    return np.clip(edges, min(low, -np.pi), max(high, np.pi))


def _split(
    edges: Float64Array, sums: tuple[Float64Array, Float64Array], *, periodic: bool, seed: int
) -> Float64Array:
    """(n_splits,) W1 between random halves of the groups."""
    halves = bootstrap.half_splits(seed=seed)
    return _drawn(edges, sums, halves, sums, ~halves, periodic=periodic)


def _drawn(
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
