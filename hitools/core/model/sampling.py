"""How events are sampled: solvers, and how many steps events of each size take."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np

from hitools.core.diffusion.solvers import GRIDS, SOLVERS
from hitools.core.errors import InputError
from hitools.core.features import SMALL, IntArray


@dataclass(frozen=True)
class Sampling:
    """How events are sampled.

    Attributes:
        seed: of all noise.
        solver: one of diffusion.solvers.SOLVERS, for both branches.
        steps: of the particle branch.
        small_solver: for the particles of small events; None where it is the same.
        small_steps: of the particles of small events at most, where that is more; see steps_of.
        event_steps: of the event vector, which costs little: b and the number of particles are
            bound tightly, and with 24 steps the outer parts of their law are short by 2 to 8%.
        grid: times of the steps, one of diffusion.solvers.GRIDS; see event_grid.
        corrections: how often particles of the other events are then moved to their sums
            (nets/corrections.py), for networks that know any.
    """

    seed: int
    solver: str = "ab2"
    steps: int = 32
    small_solver: str | None = None
    small_steps: int = 0
    event_steps: int = 48
    grid: str = "uniform"
    corrections: int = 0

    def __post_init__(self) -> None:
        """Refuse an unknown solver or grid, and numbers of steps that cannot be."""
        for name in (self.solver, self.small_solver or self.solver):
            if name not in tuple(SOLVERS):
                raise InputError(f"solver {name!r}, expected one of {', '.join(SOLVERS)}")
        if self.grid not in tuple(GRIDS):
            raise InputError(f"grid {self.grid!r}, expected one of {', '.join(GRIDS)}")
        for name, least in {
            "steps": 1,
            "small_steps": 0,
            "event_steps": 1,
            "corrections": 0,
        }.items():
            number = getattr(self, name)
            if type(number) is not int or number < least:
                raise InputError(f"{name} {number!r}, expected a whole number from {least} on")

    @classmethod
    def of(cls, seed: int, of_model: Mapping[str, Any], asked: Mapping[str, Any]) -> "Sampling":
        """As a model says, but for what is asked: a solver that is, for events of all sizes.

        Raises:
            InputError: an unknown solver.
        """
        whole = {"small_solver": None} if "solver" in asked else {}
        return cls(**{**of_model, **whole, **asked, "seed": seed})

    @property
    def most_steps(self) -> int:
        """Steps of the particles of the smallest events."""
        return max(self.steps, self.small_steps)

    @property
    def coarse_steps(self) -> int:
        """Steps of coarse features: with 24 within 0.003 of their spread of where 256 steps end."""
        return max(self.event_steps // 2, 1)

    @property
    def event_grid(self) -> str:
        """Times of event_steps: even ones where those of particles are finer towards the data.

        Particles meet their sums in the last steps; the vectors have none to meet, and coarse
        steps next to the noise would take a percent of their variance (docs/ablation.md).
        """
        return "uniform" if self.grid == "power" else self.grid

    def parts(self, n_particles: IntArray) -> Iterator[tuple[str, int, slice]]:
        """Solver and steps of particles, and which events go with them.

        Args:
            n_particles: (n_events,) of events with the largest first.

        Returns:
            Of each part: solver, steps, and a run of events; none of them is empty.
        """
        sizes, counts = np.unique(halvings(n_particles), return_counts=True)
        ways = [self._way_of(int(n)) for n in sizes]
        start = 0
        for (solver, steps), group in groupby(zip(ways, counts, strict=True), itemgetter(0)):
            stop = start + int(sum(n for _, n in group))
            yield solver, steps, slice(start, stop)
            start = stop

    def _way_of(self, n_halvings: int) -> tuple[str, int]:
        solver = (self.small_solver if n_halvings else None) or self.solver
        return solver, steps_of(n_halvings, self.steps, self.small_steps)


def halvings(n_particles: IntArray) -> IntArray:
    """(n_events,) how often SMALL is to be halved to be no more than these: 0 of large events."""
    ratio = SMALL / np.maximum(n_particles, 1)
    return np.maximum(np.ceil(np.log2(ratio)), 0).astype(np.int64)


def most_steps(fewest: int, steps: int, small_steps: int) -> int:
    """Steps of events of so many particles, the smallest that are sampled so."""
    return steps_of(int(halvings(np.array([fewest]))[0]), steps, small_steps)


def steps_of(n_halvings: int, steps: int, small_steps: int) -> int:
    """Steps of events: twice as many for each halving, until they are small_steps."""
    return min(steps * 2**n_halvings, max(steps, small_steps))
