"""Scores below a threshold, against scipy's truncated normal law."""

import numpy as np
import pytest
import torch
from scipy import stats

from hitools.core.representation import below

THRESHOLD = 2.0


def test_among_themselves_particles_below_the_threshold_are_normal():
    cut = stats.truncnorm(-np.inf, THRESHOLD)
    share = np.linspace(1e-4, 1 - 1e-4, 501)
    scores = torch.from_numpy(cut.ppf(share))
    found = below.among_lower(scores, THRESHOLD)
    np.testing.assert_allclose(found, stats.norm.ppf(share), atol=1e-6)
    np.testing.assert_allclose(below.among_all(found, THRESHOLD), scores, atol=1e-6)


@pytest.mark.parametrize("score", [-60.0, -6.0, 3.0, 9.0, 60.0])
def test_in_float32_no_score_is_too_far_out_and_none_comes_above(score):
    among_all = below.among_all(torch.tensor([score]), THRESHOLD)
    assert among_all.isfinite().all()
    assert float(among_all) <= THRESHOLD
    back = float(below.among_lower(among_all, THRESHOLD))
    # Next to the threshold float32 has no more digits for the scores far out.
    assert back == pytest.approx(np.clip(score, -30, 6), abs=0.01 if score < 5 else 0.5)


def test_the_order_is_kept():
    scores = torch.linspace(-5, 4.5, 400)
    assert (below.among_all(scores, THRESHOLD).diff() > 0).all()
