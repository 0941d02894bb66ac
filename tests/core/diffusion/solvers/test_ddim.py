import math

import pytest
import torch

from hitools.core.diffusion.schedule import ANGLE_RANGE
from hitools.core.diffusion.solvers import ddim
from tests.core.diffusion.support import Gaussian, order_of_convergence, start


def test_first_order():
    assert order_of_convergence("ddim") == pytest.approx(1, abs=0.1)


def test_data_of_unit_variance_shrinks_by_a_cosine_in_every_step():
    """The bias that steps in the angle do not have."""
    noise = start()
    sample = ddim.solve(Gaussian(0, 1).velocity, noise, 10)
    torch.testing.assert_close(sample, noise * math.cos(ANGLE_RANGE / 10) ** 10)


def test_a_single_point_is_reached_in_one_step():
    sample = ddim.solve(Gaussian(0.7, 0).velocity, start(), 1)
    torch.testing.assert_close(sample, torch.full_like(sample, 0.7), rtol=0, atol=3e-4)
