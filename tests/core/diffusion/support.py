"""Gaussian data, for which the velocity and its flow are known in closed form."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hitools.core.diffusion.schedule import angle
from hitools.core.diffusion.solvers import SOLVERS


@dataclass(frozen=True)
class Gaussian:
    """Data distributed as N(mean, std^2), the same in every component.

    z_t is then N(alpha mean, alpha^2 std^2 + sigma^2), the best estimate of the noise is linear in
    z, and the probability flow keeps every point at its quantile.
    """

    mean: float = 0.5
    std: float = 0.5

    def velocity(self, z: Tensor, t: float) -> Tensor:
        """The velocity that a perfect network would predict."""
        alpha, sigma = math.cos(angle(t)), math.sin(angle(t))
        pull = (z - alpha * self.mean) / (alpha**2 * self.std**2 + sigma**2)
        noise, clean = sigma * pull, self.mean + alpha * self.std**2 * pull
        return alpha * noise - sigma * clean

    def flow(self, z: Tensor) -> Tensor:
        """Where the exact flow carries z from t = 1 to t = 0."""
        quantile = (z - math.cos(angle(1)) * self.mean) / self._std_at(1)
        return math.cos(angle(0)) * self.mean + self._std_at(0) * quantile

    def _std_at(self, t: float) -> float:
        return math.hypot(math.cos(angle(t)) * self.std, math.sin(angle(t)))


def start(n: int = 500) -> Tensor:
    """Standard normal noise in float64."""
    return torch.randn(n, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def order_of_convergence(name: str, grid: str = "uniform", steps: int = 128) -> float:
    """Exponent p of an error that falls as steps^-p, from a doubling of the steps."""
    data, noise = Gaussian(), start()
    errors = [
        float((SOLVERS[name].solve(data.velocity, noise, n, grid) - data.flow(noise)).abs().max())
        for n in (steps, 2 * steps)
    ]
    return math.log2(errors[0] / errors[1])
