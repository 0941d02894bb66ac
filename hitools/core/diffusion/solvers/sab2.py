"""Adams-Bashforth steps that go too far and take noise back: ab2 with a random part.

A step over the angle delta goes as far again, but no further than half the way that is left, and
as much noise is added as leads up again, which keeps data of unit variance what they are. Where a
network's velocity is right on noised data and a little wrong elsewhere, a flow drifts away from
these and stays there; fresh noise makes it forget (Karras et al., 2206.00364, section 4).
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

    The last step ends at the data and adds no noise.
    """
    if noise_source is None:
        raise InputError("solver sab2: draws noise in every step and needs a source of it")
    z = noise
    previous: tuple[float, Tensor] | None = None
    for step, (t, t_next) in enumerate(pairwise(times(steps, grid))):
        theta, up_to = angle(t), angle(t_next)
        down_to = max(up_to - (theta - up_to), up_to / 2)
        slope = velocity(z, t)
        middle = slope
        if previous is not None:
            last_theta, last_slope = previous
            curvature = (slope - last_slope) / (theta - last_theta)
            middle = slope + curvature * ((down_to - theta) / 2)
        z = z + (down_to - theta) * middle
        previous = theta, slope
        if step < steps - 1:
            shrunk = math.cos(up_to) / math.cos(down_to)
            spread = math.sqrt(math.sin(up_to) ** 2 - (shrunk * math.sin(down_to)) ** 2)
            z = shrunk * z + spread * noise_source(step)
    return z
