"""Ratio maps, the contour of the reference and the binned score."""

import numpy as np
import pytest

from hitools.core.compare import maps
from hitools.core.compare.bootstrap import event_groups

EDGES = np.linspace(-3, 3, 13)


def grouped_map(x, y, groups, weights=None):
    weights = np.ones(len(x)) if weights is None else weights
    sample = np.stack([groups, x, y], axis=1)
    return np.histogramdd(sample, [np.arange(65), EDGES, EDGES], weights=weights)[0]


def _map(seed, n=30_000, weights=None):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, n))
    return grouped_map(x, y, event_groups(0, n, seed), weights)


def test_the_core_is_the_smallest_set_of_bins_with_95_percent():
    content = np.array([[50.0, 30, 14], [4, 1, 1], [0, 0, 0]])
    core = maps.core_bins(content)
    assert core.tolist() == [[True, True, True], [True, False, False], [False] * 3]
    assert not maps.core_bins(np.zeros((2, 2))).any()


def test_maps_of_one_parent_score_one_within_errors():
    found = maps.compare_maps(EDGES, EDGES, _map(1), _map(2))
    assert found.score.median == pytest.approx(1, abs=0.05)
    assert abs(found.score.mean_95 - 1) < 4 * found.score_error[2]
    assert found.score_floor[2] == pytest.approx(1, abs=0.02)
    pulls = (found.ratio - 1)[found.core] / found.ratio_error[found.core]
    assert np.std(pulls) == pytest.approx(1, abs=0.25)


def test_a_correlation_that_no_projection_shows_changes_the_map():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(2, 30_000))
    rho = 0.8
    groups = event_groups(0, 30_000)
    wrong = grouped_map(x, rho * x + np.sqrt(1 - rho**2) * y, groups)
    found = maps.compare_maps(EDGES, EDGES, _map(1), wrong)
    assert abs(found.score.median_95 - 1) > 5 * found.score_error[3]
    assert abs(found.score_floor[3] - 1) < 0.05


def test_weights_of_two_instead_of_twice_the_entries():
    once, twice = _map(3), _map(3, weights=np.full(30_000, 2.0))
    found = maps.compare_maps(EDGES, EDGES, once, twice)
    assert found.score.mean == pytest.approx(1, rel=1e-12)
    per = np.bincount(event_groups(0, 30_000, 3), minlength=64).astype(float)
    found = maps.compare_maps(EDGES, EDGES, once, twice, per, per)
    assert found.score.mean == pytest.approx(2, rel=1e-12)


def test_an_empty_map_scores_nan_without_a_warning():
    found = maps.compare_maps(EDGES, EDGES, np.zeros((64, 12, 12)), _map(1))
    assert np.isnan(found.score.mean)
    assert np.isnan(found.score_floor).all()
