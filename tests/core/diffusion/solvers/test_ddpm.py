import math

import pytest
import torch
from torch import Tensor

from hitools.core.diffusion.schedule import angle
from hitools.core.diffusion.solvers import ddpm
from hitools.core.errors import InputError
from tests.core.diffusion.support import Gaussian


def sample(data: Gaussian, steps: int, n: int = 20_000) -> Tensor:
    generator = torch.Generator().manual_seed(0)

    def fresh(_: int) -> Tensor:
        return torch.randn(n, generator=generator, dtype=torch.float64)

    return ddpm.solve(data.velocity, fresh(0), steps, noise_source=fresh)


@pytest.mark.parametrize("steps", [2, 5, 50])
def test_data_of_unit_variance_keep_it_up_to_the_last_estimate(steps):
    """Every noisy step is exact; the last, without noise, leaves the spread of the estimate."""
    expected = math.cos(angle(1 / steps))
    assert float(sample(Gaussian(0, 1), steps).std()) == pytest.approx(expected, rel=0.02)


def test_any_gaussian_is_reached_with_many_steps():
    drawn = sample(Gaussian(0.5, 0.5), 500)
    assert float(drawn.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(drawn.std()) == pytest.approx(0.5, rel=0.03)


def test_noise_is_asked_for_by_step_and_not_for_the_last():
    asked = []

    def fresh(step: int) -> Tensor:
        asked.append(step)
        return torch.zeros(3)

    ddpm.solve(Gaussian().velocity, torch.zeros(3), 4, noise_source=fresh)
    assert asked == [0, 1, 2]


def test_without_a_source_of_noise_it_says_so():
    with pytest.raises(InputError, match="ddpm"):
        ddpm.solve(Gaussian().velocity, torch.zeros(3), 4)
