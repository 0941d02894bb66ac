"""Diffusion times at which particles are shown: most where the sampler will evaluate them.

Four steps of a sampler evaluate the network at three times only (the first, of nothing but noise,
is a formula: first_velocity.py). What it says there is what counts; the others keep it smooth, and
let it be sampled with other steps.
"""

from dataclasses import dataclass

import numpy as np

from hitools.core.diffusion.solvers import times
from hitools.core.features import Float32Array, IntArray
from hitools.core.model.sampling import halvings, steps_of


@dataclass(frozen=True)
class ParticleTimes:
    """Times that are drawn for particles.

    Attributes:
        share: of the draws, that fall on one of the times below.
        grids: of large events, then of ever smaller ones (sampling.steps_of).
    """

    share: float
    grids: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, share: float, steps: int, small_steps: int, grid: str) -> "ParticleTimes | None":
        """For a sampler of so many steps; None where all times are to be drawn evenly.

        Args:
            share: see the class.
            steps: of the particles of large events.
            small_steps: of the smallest ones, where that is more.
            grid: of diffusion.solvers.GRIDS.
        """
        numbers = [steps]
        while numbers[-1] < small_steps:
            numbers.append(steps_of(len(numbers), steps, small_steps))
        grids = tuple(tuple(times(n, grid)[1:-1]) for n in numbers)
        return cls(share, grids) if share and grids[0] else None

    def __call__(self, even: Float32Array, n_particles: IntArray) -> Float32Array:
        """(n_events,) times from (n_events,) even numbers in [0, 1) and how many particles."""
        size = np.minimum(halvings(n_particles), len(self.grids) - 1)
        at = np.choose(size, [self._of(grid, even) for grid in self.grids])
        others = (even - self.share) / (1 - self.share)
        return np.where(even < self.share, at, others).astype(np.float32)

    def _of(self, grid: tuple[float, ...], even: Float32Array) -> Float32Array:
        which = (even / self.share * len(grid)).astype(np.int64)
        return np.array(grid, np.float32)[np.minimum(which, len(grid) - 1)]
