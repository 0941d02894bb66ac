"""Calibrated weights against likelihood ratios that are known exactly."""

import numpy as np
import pytest

from hitools.core.compare.classify import calibration
from hitools.core.compare.classify.dataset import LabelledEvents, balanced, split
from hitools.core.compare.classify.training import TrainingOptions, train


def two_normals(n=4000, m=4000, shift=1.0, seed=0):
    """x of a reference N(shift, 1) and a sample N(0, 1): ln p/q = shift x - shift^2 / 2."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(shift, 1, n), rng.normal(0, 1, m)])
    is_reference = np.arange(n + m) < n
    return x, is_reference, shift * x - shift**2 / 2


@pytest.mark.parametrize("m", [4000, 1000])
def test_a_wrong_scale_and_offset_are_undone(m):
    _, is_reference, truth = two_normals(m=m)
    weights = balanced(np.ones(len(truth)), is_reference)
    found = calibration.fit((3 * truth + 1).astype(np.float32), is_reference, weights)
    assert 3 * found.scale == pytest.approx(1, abs=0.1)
    assert found.log_weights(np.array([1.0]))[0] == pytest.approx(0, abs=0.08)


def test_event_weights_change_the_density_that_is_learnt():
    """A reference drawn from the sample's density, weighted to its own."""
    x, is_reference, _ = two_normals(shift=0.0)
    truth = 0.5 * x - 0.125
    weights = balanced(np.where(is_reference, np.exp(truth), 1.0), is_reference)
    found = calibration.fit(truth, is_reference, weights)
    assert found.scale == pytest.approx(1, abs=0.1)
    assert found.offset == pytest.approx(0, abs=0.06)


def test_a_classifier_worse_than_chance_gives_equal_weights_not_inverted_ones():
    _, is_reference, truth = two_normals()
    found = calibration.fit(-truth, is_reference, np.ones(len(truth)))
    assert found.scale == 0
    np.testing.assert_allclose(found.log_weights(truth), 0, atol=1e-6)


@pytest.fixture(scope="module")
def known_ratio():
    """Event vectors whose second column carries all of the difference; ratio and weights."""
    x, is_reference, truth = two_normals(3000, 3000, shift=0.8, seed=5)
    rng = np.random.default_rng(6)
    events = rng.normal(size=(len(x), 11)).astype(np.float32)
    events[:, 1] = 100 + 20 * x
    data = LabelledEvents(
        events=events,
        particles=np.zeros((0, 8), np.float32),
        offsets=np.zeros(len(x) + 1, np.int64),
        multiplicity=np.zeros(len(x), np.int64),
        is_reference=is_reference,
        weights=np.ones(len(x)),
    )
    parts = split(is_reference, np.random.default_rng(7))
    fitted = train("event", data, parts, TrainingOptions(device="cpu"), seed=8)
    calibrated = calibration.fit(
        fitted.validation, is_reference[parts.validation], np.ones(len(parts.validation))
    )
    return data, parts, calibrated.log_weights(fitted.test), truth


def test_the_network_finds_a_likelihood_ratio_that_is_known(known_ratio):
    _, parts, log_weights, truth = known_ratio
    expected = truth[parts.test]
    assert np.corrcoef(log_weights, expected)[0, 1] > 0.93
    slope, offset = np.polyfit(expected, log_weights, 1)
    assert slope == pytest.approx(1, abs=0.2)
    assert offset == pytest.approx(0, abs=0.15)


def test_the_reweighted_sample_approaches_the_reference(known_ratio):
    data, parts, log_weights, _ = known_ratio
    observable = data.events[parts.test, 1]
    is_reference = data.is_reference[parts.test]
    reference, sample = observable[is_reference], observable[~is_reference]
    w = np.exp(log_weights[~is_reference])
    assert w.mean() == pytest.approx(1, abs=0.15)
    before = reference.mean() - sample.mean()
    after = reference.mean() - np.average(sample, weights=w)
    assert before == pytest.approx(16, abs=2.5)  # 0.8 of a standard deviation of 20
    assert abs(after) < 0.35 * before
