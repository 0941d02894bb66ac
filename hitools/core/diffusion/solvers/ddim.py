"""DDIM (Song et al., 2010.02502): rotate towards the denoised estimate.

With z = alpha z_0 + sigma eps and v = alpha eps - sigma z_0 held fixed in (z_0, eps), a step over
the angle delta is z cos delta + v sin delta.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from hitools.core.diffusion.schedule import angle
from hitools.core.diffusion.solvers.base import NoiseSource, Velocity, times


def solve(
    velocity: Velocity,
    noise: Tensor,
    steps: int,
    grid: str | Sequence[float] = "uniform",
    noise_source: NoiseSource | None = None,  # noqa: ARG001
) -> Tensor:
    """Solver; see base.Solve."""
    z = noise
    for t, t_next in pairwise(times(steps, grid)):
        delta = angle(t_next) - angle(t)
        z = math.cos(delta) * z + math.sin(delta) * velocity(z, t)
    return z
