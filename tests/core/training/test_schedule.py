"""Warm-up and cosine decay."""

import numpy as np
import pytest

from hitools.core.training.schedule import rate_at


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
