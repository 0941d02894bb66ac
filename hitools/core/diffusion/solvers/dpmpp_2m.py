"""DPM-Solver++(2M) (Lu et al., 2211.01095, algorithm 2): multistep in half the log-SNR.

The clean estimate is extrapolated over lambda = log(alpha / sigma) from the last step. The first
step has no history, and the last one runs to lambda = 10, where an extrapolation would go far
outside: both are of first order.
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
    previous: tuple[float, Tensor] | None = None
    for step, (t, t_next) in enumerate(pairwise(times(steps, grid))):
        theta, theta_next = angle(t), angle(t_next)
        clean = math.cos(theta) * z - math.sin(theta) * velocity(z, t)
        h = math.log(math.tan(theta) / math.tan(theta_next))
        target = clean
        if previous is not None and step < steps - 1:
            last_h, last_clean = previous
            target = clean + h / (2 * last_h) * (clean - last_clean)
        z = (
            math.sin(theta_next) / math.sin(theta) * z
            - math.cos(theta_next) * math.expm1(-h) * target
        )
        previous = h, clean
    return z
