import pytest
import torch

from hitools.core.diffusion.solvers import ab2, euler
from tests.core.diffusion.support import Gaussian, order_of_convergence, start


@pytest.mark.parametrize("grid", ["uniform", "cosine", "power"])
def test_second_order_on_uneven_grids_too(grid):
    assert order_of_convergence("ab2", grid) == pytest.approx(2, abs=0.1)


def test_the_first_step_is_euler_s():
    data, noise = Gaussian(), start()
    assert torch.equal(ab2.solve(data.velocity, noise, 1), euler.solve(data.velocity, noise, 1))
