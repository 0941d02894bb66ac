"""What the solvers share: their signature and the grids of times they step over."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Protocol

from torch import Tensor

from hitools.core.errors import InputError

Velocity = Callable[[Tensor, float], Tensor]
"""The network as a solver sees it: noised z and one time in [0, 1] to the velocity v."""

NoiseSource = Callable[[int], Tensor]
"""Fresh standard normal noise in the shape of z for the step of that number."""

GRIDS = ("uniform", "cosine", "power")
POWER = 2.0


class Solve(Protocol):
    """The call that every solver answers to."""

    def __call__(
        self,
        velocity: Velocity,
        noise: Tensor,
        steps: int,
        grid: str | Sequence[float] = "uniform",
        noise_source: NoiseSource | None = None,
    ) -> Tensor:
        """Carry noise at t = 1 to a sample at t = 0.

        Args:
            velocity: the network at fixed conditions.
            noise: standard normal, of any shape.
            steps: number of steps.
            grid: name of a grid of times, or the steps + 1 times themselves, from 1 down to 0.
            noise_source: for stochastic solvers, noise of each step.
        """


def times(steps: int, grid: str | Sequence[float]) -> list[float]:
    """The steps + 1 times of a grid, from 1 to 0.

    uniform: equal steps, in t and so in the angle; cosine: (1 + cos(pi k / n)) / 2, fine at both
    ends; power: (1 - k / n)^2, fine towards the data.

    Raises:
        InputError: fewer than one step, a name that is not in GRIDS, or times that do not fall
            from 1 to 0 in that number of steps.
    """
    if steps < 1:
        raise InputError(f"solver: {steps} steps, expected at least 1")
    if not isinstance(grid, str):
        given = [float(t) for t in grid]
        falling = all(now > after for now, after in pairwise(given))
        if len(given) != steps + 1 or given[0] != 1 or given[-1] != 0 or not falling:
            raise InputError(f"solver: a grid of {steps} steps needs times falling from 1 to 0")
        return given
    fractions = [k / steps for k in range(steps + 1)]
    if grid == "uniform":
        return [1 - u for u in fractions]
    if grid == "cosine":
        return [(1 + math.cos(math.pi * u)) / 2 for u in fractions]
    if grid == "power":
        return [(1 - u) ** POWER for u in fractions]
    raise InputError(f"solver: unknown grid {grid!r}, expected one of {', '.join(GRIDS)}")
