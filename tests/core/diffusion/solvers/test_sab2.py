import pytest
import torch
from torch import Tensor

from hitools.core.diffusion.solvers import ab2, sab2
from hitools.core.errors import InputError
from tests.core.diffusion.support import Gaussian


def sample(data: Gaussian, steps: int, n: int = 40_000) -> Tensor:
    generator = torch.Generator().manual_seed(0)

    def fresh(_: int) -> Tensor:
        return torch.randn(n, generator=generator, dtype=torch.float64)

    return sab2.solve(data.velocity, fresh(0), steps, noise_source=fresh)


@pytest.mark.parametrize("steps", [1, 2, 5, 50])
def test_data_of_unit_variance_keep_it(steps):
    """Their velocity is 0, and what a step takes away and gives back is exact."""
    drawn = sample(Gaussian(0, 1), steps)
    assert float(drawn.std()) == pytest.approx(1, rel=0.01)
    assert abs(float(drawn.mean())) < 0.02


def test_any_gaussian_is_approached_the_finer_the_steps():
    def off(steps: int) -> float:
        return abs(float(sample(Gaussian(0.5, 0.3), steps, 400_000).std()) / 0.3 - 1)

    assert float(sample(Gaussian(0.5, 0.3), 64).mean()) == pytest.approx(0.5, abs=0.01)
    assert off(256) < off(64) / 3 < off(16) / 9
    assert off(256) < 0.02


def test_a_start_that_is_not_noise_is_forgotten():
    """A flow carries each point to its quantile, and a shift with it; fresh noise wears it off."""
    data, steps = Gaussian(0.0, 0.7), 16
    generator = torch.Generator().manual_seed(0)

    def fresh(_: int) -> Tensor:
        return torch.randn(20_000, generator=generator, dtype=torch.float64)

    flow = ab2.solve(data.velocity, fresh(0) + 1, steps, "power")
    noisy = sab2.solve(data.velocity, fresh(0) + 1, steps, "power", fresh)
    assert float(flow.mean()) == pytest.approx(0.7, abs=0.03)
    assert abs(float(noisy.mean())) < 0.2


def test_noise_is_asked_for_by_step_and_not_for_the_last():
    asked = []

    def fresh(step: int) -> Tensor:
        asked.append(step)
        return torch.zeros(3)

    sab2.solve(Gaussian().velocity, torch.zeros(3), 4, noise_source=fresh)
    assert asked == [0, 1, 2]


def test_without_a_source_of_noise_it_says_so():
    with pytest.raises(InputError, match="sab2"):
        sab2.solve(Gaussian().velocity, torch.zeros(3), 4)
