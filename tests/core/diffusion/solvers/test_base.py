from itertools import pairwise

import pytest
import torch
from torch import Tensor

from hitools.core.diffusion.solvers import GRIDS, SOLVERS, times
from hitools.core.errors import InputError
from tests.core.diffusion.support import Gaussian, start


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("steps", [1, 2, 17])
def test_grids_fall_from_one_to_zero(grid, steps):
    grid_times = times(steps, grid)
    assert len(grid_times) == steps + 1
    assert grid_times[0] == 1
    assert grid_times[-1] == 0
    assert all(now > after for now, after in pairwise(grid_times))


def test_a_grid_can_be_given_as_times():
    assert times(2, [1, 0.3, 0]) == [1, 0.3, 0]


@pytest.mark.parametrize(
    ("steps", "grid", "words"),
    [
        (0, "uniform", "at least 1"),
        (4, "linear", "uniform, cosine, power"),
        (2, [1, 0], "2 steps"),
        (2, [1, 1, 0], "falling"),
        (2, [0.9, 0.5, 0], "from 1 to 0"),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(steps, grid, words):
    with pytest.raises(InputError, match=words):
        times(steps, grid)


@pytest.mark.parametrize("name", SOLVERS)
def test_solvers_say_how_often_they_call_the_network(name):
    solver, data, calls = SOLVERS[name], Gaussian(), []

    def velocity(z: Tensor, t: float) -> Tensor:
        calls.append(t)
        return data.velocity(z, t)

    solver.solve(velocity, start(), 7, noise_source=lambda _: torch.zeros(500))
    assert len(calls) == solver.evaluations(7)
    assert all(0 <= t <= 1 for t in calls)


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("grid", GRIDS)
def test_with_many_steps_every_solver_samples_the_data(name, grid):
    data, generator = Gaussian(), torch.Generator().manual_seed(1)
    noise = torch.randn(4000, generator=generator, dtype=torch.float64)

    def fresh(_: int) -> Tensor:
        return torch.randn(4000, generator=generator, dtype=torch.float64)

    sample = SOLVERS[name].solve(data.velocity, noise, 400, grid, fresh)
    assert float(sample.mean()) == pytest.approx(data.mean, abs=0.03)
    assert float(sample.std()) == pytest.approx(data.std, abs=0.03)


@pytest.mark.parametrize("name", SOLVERS)
def test_samples_keep_type_and_shape_of_the_noise(name):
    noise = torch.randn(3, 5)
    sample = SOLVERS[name].solve(
        Gaussian().velocity, noise, 3, noise_source=lambda _: torch.randn(3, 5)
    )
    assert sample.dtype == torch.float32
    assert sample.shape == noise.shape
