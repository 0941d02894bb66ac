"""From noise to a sample: one file per solver, all with the signature of base.Solve."""

from dataclasses import dataclass

from hitools.core.diffusion.solvers import ab2, ddim, ddpm, dpmpp_2m, euler, heun, midpoint, sab2
from hitools.core.diffusion.solvers.base import GRIDS, NoiseSource, Solve, Velocity, times

__all__ = ["GRIDS", "SOLVERS", "NoiseSource", "Solve", "Solver", "Velocity", "times"]


@dataclass(frozen=True)
class Solver:
    """A solver and what it asks for.

    Attributes:
        solve: the call.
        evaluations_per_step: network evaluations in a step.
        stochastic: whether it draws noise in every step and needs a noise_source.
    """

    solve: Solve
    evaluations_per_step: int = 1
    stochastic: bool = False

    def evaluations(self, steps: int) -> int:
        """Network evaluations for a sample."""
        return self.evaluations_per_step * steps


SOLVERS: dict[str, Solver] = {
    "ddim": Solver(ddim.solve),
    "ddpm": Solver(ddpm.solve, stochastic=True),
    "midpoint": Solver(midpoint.solve, evaluations_per_step=2),
    "dpm++2m": Solver(dpmpp_2m.solve),
    "euler": Solver(euler.solve),
    "heun": Solver(heun.solve, evaluations_per_step=2),
    "ab2": Solver(ab2.solve),
    "sab2": Solver(sab2.solve, stochastic=True),
}
