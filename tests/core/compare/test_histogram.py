"""Bins that follow the reference; errors, chi2 and separation of two histograms."""

import numpy as np
import pytest

from hitools.core.compare import histogram as h
from hitools.core.compare.bootstrap import event_groups


def test_range_follows_the_bulk_and_not_an_outlier() -> None:
    values = np.append(np.random.default_rng(0).normal(size=10_000), 1e6)
    edges = h.robust_edges(values, 40)
    assert len(edges) == 41
    assert -4.5 < edges[0] < -3
    assert 3 < edges[-1] < 4.5


def test_a_sharp_acceptance_becomes_an_edge() -> None:
    values = np.random.default_rng(0).uniform(-2.5, 2.5, 10_000)
    edges = h.robust_edges(values)
    assert edges[0] == values.min()
    assert edges[-1] == values.max()


def test_log_bins_reach_to_the_hardest_particle() -> None:
    pt = np.random.default_rng(0).pareto(3, 10_000) + 0.15
    edges = h.robust_edges(pt, 30, log=True)
    assert edges[-1] == pytest.approx(pt.max())
    assert np.allclose(np.diff(np.log(edges)), np.diff(np.log(edges))[0])


def test_every_bin_of_a_count_holds_equally_many_integers() -> None:
    edges = h.robust_edges(np.arange(1, 174), 50, whole_numbers=True)
    assert np.all(np.diff(edges) == np.diff(edges)[0])
    assert np.all(edges % 1 == 0.5)
    assert edges[0] == 0.5
    assert edges[-1] >= 173.5
    assert len(h.robust_edges(np.array([4, 5, 6]), 50, whole_numbers=True)) == 4


def test_a_constant_still_gets_bins() -> None:
    edges = h.robust_edges(np.full(5, 3.0), 10)
    assert edges[0] < 3 < edges[-1]
    assert np.all(np.diff(h.robust_edges(np.zeros(5), 10)) > 0)
    with pytest.raises(ValueError, match="finite"):
        h.robust_edges(np.array([np.nan]))


def test_histogram_agrees_with_numpy_and_keeps_what_lies_outside() -> None:
    rng = np.random.default_rng(1)
    values, weights = rng.normal(size=5000).astype(np.float32), rng.uniform(0, 2, 5000)
    edges = np.linspace(-1, 1, 9)
    values[:3] = -1, 1, 0.25
    sums = h.grouped_histogram(values, edges, event_groups(0, 5000), weights)
    np.testing.assert_allclose(sums.sum(0)[1:-1], np.histogram(values, edges, weights=weights)[0])
    assert sums.sum() == pytest.approx(weights.sum())


def _poisson_histogram(seed: int, n: int, scale: float = 1.0) -> np.ndarray:
    """Events with a few particles each that share a fluctuating mean."""
    rng = np.random.default_rng(seed)
    per_event = rng.poisson(4, n)
    groups = np.repeat(event_groups(0, n, seed), per_event)
    shift = np.repeat(rng.normal(0, 0.2, n), per_event)
    values = (rng.normal(size=groups.size) + shift) * scale
    return h.grouped_histogram(values, np.linspace(-3, 3, 31), groups)


def test_chi2_per_bin_is_one_for_samples_of_one_parent_and_large_for_a_scaled_one() -> None:
    edges = np.linspace(-3, 3, 31)
    same = [
        h.compare_histograms(
            edges, _poisson_histogram(2 * k, 4000), _poisson_histogram(2 * k + 1, 2000)
        )
        for k in range(30)
    ]
    chi2 = np.array([c.chi2_ndf for c in same])
    assert chi2.mean() == pytest.approx(1, abs=0.12)
    assert chi2.std() == pytest.approx(np.mean([c.chi2_ndf_error for c in same]), rel=0.4)
    wrong = h.compare_histograms(
        edges, _poisson_histogram(0, 4000), _poisson_histogram(1, 4000, scale=1.1)
    )
    assert wrong.chi2_ndf > 3


def test_ratio_pulls_have_unit_width() -> None:
    edges = np.linspace(-3, 3, 31)
    pulls = []
    for k in range(20):
        c = h.compare_histograms(
            edges, _poisson_histogram(100 + k, 4000), _poisson_histogram(200 + k, 4000)
        )
        pulls.append(((c.ratio - 1) / c.ratio_error)[5:-5])
    assert np.std(pulls) == pytest.approx(1, abs=0.12)


def test_a_tail_cut_beyond_the_last_edge_is_seen_in_chi2() -> None:
    rng = np.random.default_rng(8)
    groups = event_groups(0, 20_000)
    values = rng.exponential(1, 20_000)
    edges = np.linspace(0, 4, 21)
    whole = h.grouped_histogram(values, edges, groups)
    cut = h.grouped_histogram(np.where(values > 4, 1.0, values), edges, groups)
    assert h.compare_histograms(edges, whole, cut).chi2 > 50


def test_yields_per_trigger_compare_height_and_not_shape_alone() -> None:
    edges = np.linspace(-3, 3, 31)
    a, b = _poisson_histogram(1, 4000), _poisson_histogram(2, 4000)
    per = np.bincount(event_groups(0, 4000), minlength=64).astype(float)
    full = h.compare_histograms(edges, a, b, per, per)
    half = h.compare_histograms(edges, a, b, per, 2 * per)
    assert full.chi2_ndf < 2
    assert np.nanmean(half.ratio[10:20]) == pytest.approx(0.5, rel=0.1)
    assert half.chi2_ndf > 20


def test_separation_is_zero_for_equal_and_one_for_disjoint() -> None:
    p = np.array([0.5, 0.5, 0, 0])
    assert h.separation_power(p, p) == 0
    assert h.separation_power(p, p[::-1]) == 1


def test_sparse_bins_are_joined_until_known_to_thirty_percent() -> None:
    value = np.array([0.0, 1, 100, 100, 4, 4, 4, 1, 0])
    joined = h.joined_bins(value, np.sqrt(value))
    assert joined.tolist() == [0, 0, 0, 1, 2, 2, 2, 2, 2]
    content = np.bincount(joined, value)
    assert np.all(1 / np.sqrt(content) <= 0.3)


def test_an_empty_sample_gives_nan_and_no_warning() -> None:
    edges = np.linspace(-3, 3, 31)
    c = h.compare_histograms(edges, _poisson_histogram(1, 500), np.zeros((64, 32)))
    assert np.isnan(c.sample).all()
    empty = h.compare_histograms(edges, np.zeros((64, 32)), np.zeros((64, 32)))
    assert np.isnan(empty.chi2_ndf)
