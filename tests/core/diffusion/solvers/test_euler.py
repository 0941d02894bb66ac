import pytest
import torch

from hitools.core.diffusion.solvers import euler
from tests.core.diffusion.support import Gaussian, order_of_convergence, start


def test_first_order():
    assert order_of_convergence("euler") == pytest.approx(1, abs=0.1)


def test_data_of_unit_variance_is_kept_by_every_step():
    """In the angle the flow of standardised Gaussian data stands still."""
    noise = start()
    assert torch.equal(euler.solve(Gaussian(0, 1).velocity, noise, 5), noise)
