"""First-order steps of dz/dtheta = v."""

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
        z = z + (angle(t_next) - angle(t)) * velocity(z, t)
    return z
