"""Ancestral sampling (Ho et al., 2006.11239): fresh noise in every step.

The variance of a step is sigma_t^2 (1 - SNR_t / SNR_s), the larger of the two choices of that
paper and the one of OmniLearn: exact for data of unit variance, which standardised features are.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from hitools.core.diffusion.schedule import angle
from hitools.core.diffusion.solvers.base import NoiseSource, Velocity, times
from hitools.core.errors import InputError


def solve(
    velocity: Velocity,
    noise: Tensor,
    steps: int,
    grid: str | Sequence[float] = "uniform",
    noise_source: NoiseSource | None = None,
) -> Tensor:
    """Solver; see base.Solve. Raises InputError without a noise_source.

    The last step adds no noise: its denoised estimate is the sample.
    """
    if noise_source is None:
        raise InputError("solver ddpm: draws noise in every step and needs a source of it")
    z = noise
    for step, (t, t_next) in enumerate(pairwise(times(steps, grid))):
        theta, theta_next = angle(t), angle(t_next)
        clean = math.cos(theta) * z - math.sin(theta) * velocity(z, t)
        if step == steps - 1:
            return clean
        snr_ratio = (math.tan(theta_next) / math.tan(theta)) ** 2
        alpha_ratio = math.cos(theta_next) / math.cos(theta)
        mean = snr_ratio * alpha_ratio * z + (1 - snr_ratio) * math.cos(theta_next) * clean
        z = mean + math.sin(theta) * math.sqrt(1 - snr_ratio) * noise_source(step)
    return z
