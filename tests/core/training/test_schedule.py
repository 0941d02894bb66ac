"""Warm-up, cosine decay, and the memory of the average."""

import numpy as np
import pytest

from hitools.core.training.schedule import decay_of_average, rate_at


def test_the_rate_rises_linearly_and_falls_as_a_cosine():
    rates = np.array([rate_at(step, 3e-5, 30, 750) for step in range(750)])
    np.testing.assert_allclose(np.diff(rates[:31]), 3e-5 / 31)
    assert rates[30] == rates.max() == pytest.approx(3e-5)
    assert rates[390] == pytest.approx(1.5e-5)
    assert np.all(np.diff(rates[30:]) < 0)
    assert 0 < rates[-1] < 3e-9


def test_without_warm_up_training_starts_at_the_peak():
    assert rate_at(0, 1.0, 0, 10) == 1
    assert rate_at(0, 1.0, 5, 3) == pytest.approx(1 / 6)


def test_the_average_of_a_short_training_forgets_its_beginning():
    assert decay_of_average(0.999, 100_000) == 0.999
    for steps in (1, 15, 400, 9600):
        assert 0 <= decay_of_average(0.999, steps) ** steps < 3e-9
