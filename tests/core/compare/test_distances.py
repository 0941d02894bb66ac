"""W1 between two sketches: the exact distance, its bracket once values are gone, replicas."""

import numpy as np
import pytest
import scipy.stats

from hitools.core.compare.bootstrap import event_groups
from hitools.core.compare.distances import between, between_halves
from hitools.core.compare.sketch import Sketch


def sketch(values, first=0):
    """One value an event."""
    out = Sketch()
    out.add(values.astype(np.float32), None, event_groups(first, len(values)))
    return out


@pytest.fixture
def samples():
    rng = np.random.default_rng(4)
    return rng.normal(0, 1, 4000), rng.normal(0.3, 1.2, 3000)


def test_the_distance_is_scipys_while_values_are_held(samples):
    found = between(*map(sketch, samples), periodic=False, seed=1)
    expected = scipy.stats.wasserstein_distance(*(x.astype(np.float32) for x in samples))
    assert found.value == pytest.approx(expected, rel=1e-6)
    assert found.bound == 0


def test_without_values_the_exact_distance_lies_within_the_bound(samples):
    exact = between(*map(sketch, samples), periodic=False, seed=1)
    sides = [sketch(x) for x in samples]
    between(*sides, periodic=False, seed=1)  # sets the bins
    for side in sides:
        side.give_up_values()
    found = between(*sides, periodic=False, seed=1)
    assert 0 < found.bound < 1e-3
    assert abs(found.value - exact.value) <= found.bound
    np.testing.assert_array_equal(found.bootstrap, exact.bootstrap)
    np.testing.assert_array_equal(found.halves, exact.halves)


def test_an_angle_is_measured_along_the_circle():
    rng = np.random.default_rng(5)
    low, high = (rng.uniform(0, 0.1, 2000) for _ in range(2))
    found = between(sketch(np.pi - low), sketch(high - np.pi), periodic=True, seed=1)
    assert found.value == pytest.approx(low.mean() + high.mean(), rel=1e-3)


def test_alone_the_distance_is_that_of_its_halves(samples):
    reference, sample = map(sketch, samples)
    found = between(reference, sample, periodic=False, seed=1)
    alone = between_halves(reference, periodic=False, seed=1)
    np.testing.assert_allclose(alone.halves, found.halves, rtol=1e-9)
    assert alone.value == alone.halves.mean()
