"""Second-order Heun steps of dz/dtheta = v: an Euler step, then the mean of both slopes."""

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
    """Solver; see base.Solve. Evaluates the network twice a step."""
    z = noise
    for t, t_next in pairwise(times(steps, grid)):
        delta = angle(t_next) - angle(t)
        slope = velocity(z, t)
        z = z + delta / 2 * (slope + velocity(z + delta * slope, t_next))
    return z
