import pytest
import torch

from hitools.core.diffusion.solvers import ddim, dpmpp_2m
from tests.core.diffusion.support import Gaussian, order_of_convergence, start


def test_second_order():
    assert order_of_convergence("dpm++2m", "cosine") == pytest.approx(2, abs=0.15)


def test_first_and_last_step_are_ddim_s():
    data, noise = Gaussian(), start()
    for steps in (1, 2):
        torch.testing.assert_close(
            dpmpp_2m.solve(data.velocity, noise, steps), ddim.solve(data.velocity, noise, steps)
        )


def test_a_single_point_is_reached_in_one_step():
    sample = dpmpp_2m.solve(Gaussian(0.7, 0).velocity, start(), 1)
    torch.testing.assert_close(sample, torch.full_like(sample, 0.7), rtol=0, atol=3e-4)
