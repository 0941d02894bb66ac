import pytest

from hitools.core.diffusion.solvers import midpoint
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
