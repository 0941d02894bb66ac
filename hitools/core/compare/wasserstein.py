"""Wasserstein-1 distance in one dimension: exact from weighted values, bracketed from bins.

W1(p, q) is the area between the two cumulative distributions, integral |F_p(x) - F_q(x)| dx
(for the paper's section IV E, hi-w1, and any other comparison of two distributions). The exact
functions hold all values; the binned one needs only counts and sums per bin and says within
which limits the exact value lies.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from hitools.core.errors import InputError
from hitools.core.features import Float64Array, FloatArray

_CHUNK: Final = 1 << 22


def _ordered(
    values: FloatArray, weights: FloatArray | None
) -> tuple[FloatArray, Float64Array | None]:
    """Values in ascending order, and the share of the weight in the first 0, 1, ... n of them."""
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"expected (n,) values with n > 0, got shape {values.shape}")
    if weights is None:
        return np.sort(values), None
    if weights.shape != values.shape:
        raise ValueError(f"{values.size} values but weights of shape {weights.shape}")
    order = np.argsort(values)
    share = np.concatenate([[0.0], np.cumsum(weights[order], dtype=np.float64)])
    if not share[-1] > 0:
        raise InputError("the weights of what is compared add up to 0")
    return values[order], share / share[-1]


def _steps(
    p: FloatArray,
    q: FloatArray,
    p_weights: FloatArray | None,
    q_weights: FloatArray | None,
) -> Iterator[tuple[Float64Array, Float64Array]]:
    """Runs of (lengths of the intervals between neighbouring values, F_p - F_q on them).

    In pieces of bounded size, so that the work space stays small beside the values themselves.
    """
    p, p_share = _ordered(p, p_weights)
    q, q_share = _ordered(q, q_weights)
    i = j = 0
    last: FloatArray = np.empty(0, p.dtype)
    while i < len(p) or j < len(q):
        stops = [x[k + _CHUNK - 1] for x, k in ((p, i), (q, j)) if k + _CHUNK <= len(x)]
        if stops:
            limit = min(stops)
            i_stop = int(np.searchsorted(p, limit, side="right"))
            j_stop = int(np.searchsorted(q, limit, side="right"))
        else:
            i_stop, j_stop = len(p), len(q)
        points = np.concatenate([last, p[i:i_stop], q[j:j_stop]])
        # A stable sort merges ascending runs in linear time, and keeps `last` in front. Between
        # equal values the counts are in between too, on an interval of no length.
        order = np.argsort(points, kind="stable")
        from_p = (order >= len(last)) & (order < len(last) + i_stop - i)
        n_p = i + np.cumsum(from_p)
        n_q = i + j + np.arange(1 - len(last), 1 - len(last) + len(points)) - n_p
        difference = n_p / len(p) if p_share is None else p_share[n_p]
        difference = difference - (n_q / len(q) if q_share is None else q_share[n_q])
        ordered = points[order]
        yield np.diff(ordered.astype(np.float64)), difference[:-1]
        last, i, j = ordered[-1:], i_stop, j_stop


def wasserstein(
    p: FloatArray,
    q: FloatArray,
    p_weights: FloatArray | None = None,
    q_weights: FloatArray | None = None,
) -> float:
    """Exact W1 = integral |F_p(x) - F_q(x)| dx of two weighted samples.

    Args:
        p: (n,) values of one sample, in the unit of the result.
        q: (m,) values of the other.
        p_weights: (n,) non-negative, any normalisation; None for 1 each.
        q_weights: (m,) likewise.

    Raises:
        ValueError: for empty samples or weights that do not fit.
    """
    steps = _steps(p, q, p_weights, q_weights)
    return float(sum(np.dot(width, np.abs(difference)) for width, difference in steps))


def wasserstein_circle(
    p: FloatArray,
    q: FloatArray,
    p_weights: FloatArray | None = None,
    q_weights: FloatArray | None = None,
    period: float = 2 * np.pi,
) -> float:
    """Exact W1 on a circle: mass may also move across the seam.

    The smallest area min_c integral |F_p(x) - F_q(x) - c| dx over one turn, reached at the
    median of F_p - F_q (Delon, Salomon, Sobolevskii, SIAM J. Appl. Math. 70 (2010) 2239).
    Holds the whole difference in memory.

    Args:
        p: (n,) angles of one sample in one turn, e.g. in (-pi, pi].
        q: (m,) angles of the other, in the same turn.
        p_weights: (n,) non-negative; None for 1 each.
        q_weights: (m,) likewise.
        period: length of one turn.

    Raises:
        ValueError: for empty samples, weights that do not fit, or values further than a turn apart.
    """
    pieces = list(_steps(p, q, p_weights, q_weights))
    width = np.concatenate([piece[0] for piece in pieces])
    difference = np.concatenate([piece[1] for piece in pieces])
    # Before the first and after the last value both distribution functions agree. float32(pi)
    # lies above pi by 9e-8, hence the allowance.
    rest = period - width.sum()
    if rest < -1e-6 * period:
        raise ValueError(f"angles span more than one turn of {period}")
    width, difference = np.append(width, max(rest, 0.0)), np.append(difference, 0.0)
    return float(np.dot(width, np.abs(difference - _weighted_median(difference, width))))


def _weighted_median(values: Float64Array, weights: Float64Array) -> Float64Array:
    """(...,) the values that minimise sum weights * |values - c| over c, along the last axis."""
    order = np.argsort(values, axis=-1)
    share = np.cumsum(weights[order], axis=-1)
    place = np.argmax(share >= share[..., -1:] / 2, axis=-1)[..., None]
    return np.take_along_axis(values, np.take_along_axis(order, place, -1), -1)[..., 0]


@dataclass(frozen=True)
class BinnedValues:
    """What the bins keep of a sample: weight and weighted sum of values in each bin.

    Attributes:
        weight: (..., n_bins) sum of weights.
        total: (..., n_bins) sum of weight times value.
    """

    weight: Float64Array
    total: Float64Array


@dataclass(frozen=True)
class Bracket:
    """Distances known to lie in [value - bound, value + bound].

    Attributes:
        value: (...,)
        bound: (...,)
    """

    value: Float64Array
    bound: Float64Array


def binned_wasserstein(
    edges: Float64Array, p: BinnedValues, q: BinnedValues, circle: bool = False
) -> Bracket:
    """W1 from bins, with limits between which the exact value of the same samples must lie.

    With D = F_p - F_q, the weights give D at every edge and the sums of values give its
    integral over every bin (by parts: integral of F over [a, b] is b F(b) - a F(a) - sum of
    w x). Inside a bin D stays between D(a) - q_bin and D(a) + p_bin. Where both limits have one
    sign, integral |D| = |integral D| and the bin is exact. Elsewhere |integral D| is a lower
    limit, and as |D| is convex, a D that jumps between its two limits is an upper one; so is the
    area that D at an edge and the values' distances from that edge allow, which is exact where
    all values sit on edges (counts). The value is what a straight line from edge to edge gives,
    held between the limits.

    Args:
        edges: (n_bins + 1,) ascending, all values of both samples inside.
        p: weights and sums of one sample, or of several at once (leading axes).
        q: of the other, of the same shape.
        circle: measure on the circle that the edges span: see wasserstein_circle.
    """
    edges = np.asarray(edges, dtype=np.float64)
    width = np.diff(edges)
    p_size, q_size = (x.weight.sum(-1, keepdims=True) for x in (p, q))
    p_weight, p_total = p.weight / p_size, p.total / p_size
    q_weight, q_total = q.weight / q_size, q.total / q_size
    right = np.cumsum(p_weight - q_weight, axis=-1)
    right[..., -1] = 0.0
    left = np.concatenate([np.zeros_like(right[..., :1]), right[..., :-1]], axis=-1)
    integral = edges[1:] * right - edges[:-1] * left - (p_total - q_total)
    # Rounding of large sums must not push a mean outside what the counts allow.
    integral = np.clip(integral, width * (left - q_weight), width * (left + p_weight))
    if circle:
        # The exact problem may have its best shift elsewhere. The limits hold all the same: this
        # centre makes the sum of |integral| smallest, and any shift gives an upper limit.
        filled = width > 0
        mean = integral[..., filled] / width[filled]
        centre = _weighted_median(mean, width[filled])[..., None]
        left, right, integral = left - centre, right - centre, integral - centre * width
    lower = np.abs(integral)
    upper = np.maximum(
        lower, _upper_limit(edges, left, right, integral, p_weight, q_weight, p_total + q_total)
    )
    crossing = left * right < 0
    heights = np.abs(left) + np.abs(right)
    line = np.where(
        crossing, (left**2 + right**2) / np.where(crossing, 2 * heights, 1.0), heights / 2
    )
    area = np.clip(line * width, lower, upper).sum(-1)
    return Bracket(area, np.maximum(upper.sum(-1) - area, area - lower.sum(-1)))


def _upper_limit(
    edges: Float64Array,
    left: Float64Array,
    right: Float64Array,
    integral: Float64Array,
    p_weight: Float64Array,
    q_weight: Float64Array,
    both_totals: Float64Array,
) -> Float64Array:
    """(..., n_bins) the largest integral |D| over each bin that its content allows."""
    width = np.diff(edges)
    low, high = left - q_weight, left + p_weight
    mixed = (low < 0) & (high > 0)
    span = np.where(mixed, high - low, 1.0)
    jump = ((high * width - integral) * -low + (integral - low * width) * high) / span
    both = p_weight + q_weight
    return np.minimum.reduce(
        [
            np.where(mixed, jump, np.abs(integral)),
            np.abs(right) * width + both_totals - edges[:-1] * both,
            np.abs(left) * width + edges[1:] * both - both_totals,
        ]
    )
