"""W1 against scipy, against assignment on a circle, and bins against the exact value."""

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.stats import wasserstein_distance

from hitools.core.compare import wasserstein as w1
from hitools.core.errors import InputError


def _samples(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = rng.exponential(0.6, 3000).astype(np.float32) + np.float32(0.15)
    q = (rng.exponential(0.62, 1700) + 0.15).astype(np.float32)
    return p, q, rng.uniform(0.5, 2, p.size), rng.uniform(0, 2, q.size)


@pytest.mark.parametrize("seed", range(3))
def test_exact_distance_is_the_one_of_scipy(seed: int) -> None:
    p, q, wp, wq = _samples(seed)
    assert w1.wasserstein(p, q) == pytest.approx(wasserstein_distance(p, q), rel=1e-10)
    assert w1.wasserstein(p, q, wp, wq) == pytest.approx(
        wasserstein_distance(p, q, wp, wq), rel=1e-10
    )
    assert w1.wasserstein(p, q, None, wq) == pytest.approx(
        wasserstein_distance(p, q, None, wq), rel=1e-10
    )


def test_exact_distance_does_not_depend_on_the_piece_size(monkeypatch: pytest.MonkeyPatch) -> None:
    p, q, wp, wq = _samples(5)
    p, q = np.round(p, 1), np.round(q, 1)  # many ties, more than a piece holds
    whole = w1.wasserstein(p, q, wp, wq)
    monkeypatch.setattr(w1, "_CHUNK", 17)
    assert w1.wasserstein(p, q, wp, wq) == pytest.approx(whole, rel=1e-12)
    assert whole == pytest.approx(wasserstein_distance(p, q, wp, wq), rel=1e-10)


def test_distance_of_counts_is_exact() -> None:
    p, q = np.array([0.0, 1, 1, 2]), np.array([1.0, 2, 2, 3])
    assert w1.wasserstein(p, q) == 1.0
    assert w1.wasserstein(p, p) == 0.0


def test_empty_or_weightless_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="n > 0"):
        w1.wasserstein(np.empty(0), np.ones(3))
    with pytest.raises(InputError, match="add up to 0"):
        w1.wasserstein(np.ones(3), np.ones(3), np.zeros(3))


def _transport_on_circle(p: np.ndarray, q: np.ndarray, wp: np.ndarray, wq: np.ndarray) -> float:
    """Kantorovich's linear programme with the arc length as cost."""
    gap = np.abs(p[:, None] - q[None, :])
    cost = np.minimum(gap, 2 * np.pi - gap)
    rows = [np.repeat(np.eye(len(p))[i], len(q)) for i in range(len(p))]
    columns = [np.tile(np.eye(len(q))[j], len(p)) for j in range(len(q))]
    answer = linprog(
        cost.ravel(), A_eq=np.array(rows + columns), b_eq=np.concatenate([wp, wq]), method="highs"
    )
    return float(answer.fun)


@pytest.mark.parametrize("seed", range(4))
def test_distance_on_a_circle_is_the_cheapest_transport(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p, q = rng.vonmises(3.0, 2.0, 12), rng.vonmises(-2.5, 1.0, 9)
    wp, wq = rng.dirichlet(np.ones(12)), rng.dirichlet(np.ones(9))
    expected = _transport_on_circle(p, q, wp, wq)
    assert w1.wasserstein_circle(p, q, wp, wq) == pytest.approx(expected, rel=1e-7)


def test_circle_accepts_float32_pi_and_refuses_more_than_a_turn() -> None:
    edge = np.array([np.pi, -np.pi, 0.0], np.float32)
    assert w1.wasserstein_circle(edge, edge) == 0.0
    with pytest.raises(ValueError, match="one turn"):
        w1.wasserstein_circle(np.array([-4.0, 4.0]), np.array([0.0]))


def _binned(values: np.ndarray, weights: np.ndarray, edges: np.ndarray) -> w1.BinnedValues:
    weight = np.histogram(values, edges, weights=weights)[0]
    return w1.BinnedValues(weight, np.histogram(values, edges, weights=weights * values)[0])


@pytest.mark.parametrize("n_bins", [1, 3, 30, 1000])
@pytest.mark.parametrize("scale", [1.0, 1.01, 1.3])
def test_bins_bracket_the_exact_distance(n_bins: int, scale: float) -> None:
    p, q, wp, wq = _samples(n_bins)
    q = q * scale
    both = np.concatenate([p, q]).astype(np.float64)
    edges = np.quantile(both, np.linspace(0, 1, n_bins + 1))
    bracket = w1.binned_wasserstein(edges, _binned(p, wp, edges), _binned(q, wq, edges))
    exact = wasserstein_distance(p, q, wp, wq)
    assert abs(bracket.value - exact) <= bracket.bound + 1e-12
    if n_bins == 1000:
        assert bracket.bound < 0.05 * exact


def test_bins_are_exact_where_one_sample_lies_above_the_other() -> None:
    rng = np.random.default_rng(3)
    p = rng.uniform(0, 1, 500)
    edges = np.linspace(-1, 3, 5)
    moved = _binned(p + 1.5, np.ones(500), edges)
    bracket = w1.binned_wasserstein(edges, _binned(p, np.ones(500), edges), moved)
    assert bracket.value == pytest.approx(1.5, rel=1e-12)


@pytest.mark.parametrize("n_bins", [4, 50, 2000])
def test_bins_bracket_the_distance_on_a_circle(n_bins: int) -> None:
    rng = np.random.default_rng(n_bins)
    p, q = rng.vonmises(3.0, 0.5, 4000), rng.vonmises(-2.8, 0.6, 3000)
    edges = np.linspace(-np.pi, np.pi, n_bins + 1)
    ones = np.ones
    bracket = w1.binned_wasserstein(
        edges, _binned(p, ones(4000), edges), _binned(q, ones(3000), edges), circle=True
    )
    exact = w1.wasserstein_circle(p, q)
    assert abs(bracket.value - exact) <= bracket.bound + 1e-12
    if n_bins == 2000:
        assert bracket.bound < 0.05 * exact
