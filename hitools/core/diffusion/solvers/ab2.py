"""Second-order Adams-Bashforth steps of dz/dtheta = v: one evaluation a step.

The slope of the last step is extrapolated to the middle of this one; the first step is Euler's.
"""

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
    for t, t_next in pairwise(times(steps, grid)):
        delta = angle(t_next) - angle(t)
        slope = velocity(z, t)
        middle = slope
        if previous is not None:
            last_delta, last_slope = previous
            middle = slope + delta / (2 * last_delta) * (slope - last_slope)
        z = z + delta * middle
        previous = delta, slope
    return z
