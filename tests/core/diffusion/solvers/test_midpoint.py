import math

import pytest
import torch
from torch import Tensor

from hitools.core.diffusion.schedule import angle
from hitools.core.diffusion.solvers import midpoint, times
from tests.core.diffusion.support import Gaussian, order_of_convergence, start


def test_second_order_on_a_grid_that_is_fine_at_the_start():
    assert order_of_convergence("midpoint", "cosine") == pytest.approx(2, abs=0.1)


def test_few_even_steps_blow_up_as_in_the_original():
    """The first step divides by alpha(1) = 4.5e-5; its error falls with the cube of the step."""
    data, noise = Gaussian(), start()
    errors = [
        float((midpoint.solve(data.velocity, noise, n) - data.flow(noise)).abs().max())
        for n in (8, 16)
    ]
    assert errors[0] > 5
    assert errors[0] / errors[1] == pytest.approx(8, rel=0.1)


def magnification(steps: int, grid: str) -> float:
    """By how much the first step magnifies an error of the velocity (see solvers/midpoint.py)."""
    start_time, next_time, *_ = times(steps, grid)
    theta, delta = angle(start_time), angle(next_time) - angle(start_time)
    return abs(math.sin(delta) * math.cos(theta + delta / 2) / math.cos(theta))


@pytest.mark.parametrize(
    ("steps", "grid", "expected"),
    [(3, "uniform", 2850), (32, "uniform", 27), (8, "cosine", 39), (32, "cosine", 0.16)],
)
def test_an_error_of_the_network_is_magnified_by_the_first_step_and_no_other(steps, grid, expected):
    assert magnification(steps, grid) == pytest.approx(expected, rel=0.02)
    data, noise = Gaussian(), start()
    size = 1e-7  # of the rounding of a float32 network
    generator = torch.Generator().manual_seed(2)

    def rounded(z: Tensor, t: float) -> Tensor:
        signs = torch.randint(0, 2, z.shape, generator=generator) * 2 - 1
        return data.velocity(z, t) + size * signs

    exact = midpoint.solve(data.velocity, noise, steps, grid)
    error = float((midpoint.solve(rounded, noise, steps, grid) - exact).abs().max())
    # Both evaluations of the step are rounded, and the flow to narrower data shrinks by a half.
    assert expected / 2 < error / size < 2 * expected + 2


def test_the_solver_s_own_rounding_is_not_magnified():
    """In single precision the noise estimate's rounding alone would add 83 times 6e-8 here."""
    data, noise = Gaussian(), start()
    exact = midpoint.solve(data.velocity, noise, 32, "cosine")
    single = midpoint.solve(
        lambda z, t: data.velocity(z.double(), t).float(), noise.float(), 32, "cosine"
    )
    assert single.dtype == torch.float32
    assert float((single - exact).abs().max()) < 1e-6
