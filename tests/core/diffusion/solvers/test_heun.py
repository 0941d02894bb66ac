import pytest
import torch

from hitools.core.diffusion.solvers import heun
from tests.core.diffusion.support import Gaussian, order_of_convergence, start


def test_second_order():
    assert order_of_convergence("heun") == pytest.approx(2, abs=0.1)


def test_data_of_unit_variance_is_kept_by_every_step():
    noise = start()
    assert torch.equal(heun.solve(Gaussian(0, 1).velocity, noise, 5), noise)
