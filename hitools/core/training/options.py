"""Every number of a training in one place: built once from a preset and the command line."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from hitools.core.errors import InputError
from hitools.core.nets.config import NetConfig
from hitools.core.nets.networks import NetworkConfig
from hitools.core.nets.rotary_config import RotaryConfig

OPTIMISERS: Final = ("lion", "adamw")
PRECISIONS: Final = ("float32", "bf16")
BRANCHES: Final = ("both", "event", "particles", "hard", "vectors", "whole")

HOW_IT_RUNS: Final = (
    "processes",
    "budget",
    "save_seconds",
    "memory_gb",
    "compile",
    "calibration_events",
)
"""Options that a continued run may change: they move the weights by rounding at most."""

MOST_WARMUP_EPOCHS: Final = 1e6
MOST_MEMORY_GB: Final = 1e9
"""Far above what anybody can mean, and far below what overflows."""

NOT_NEGATIVE: Final = (
    "weight_decay",
    "psi_weight",
    "sums_weight",
    "hardness",
    "save_seconds",
)


@dataclass(frozen=True)
class TrainingOptions:
    """How a model is trained. The defaults are the paper's (section IV A) where it gives one.

    Attributes:
        preset: name of the preset these options began with.
        network: sizes of both branches.
        representation: name in representations.REPRESENTATIONS.
        log_columns: features learnt as logarithms.
        slice_harmonics: of the sums in slices of eta (slices.SliceSums); () where there are none.
        hard_from: score of pT from which on particles are drawn before the others, for networks
            that can (nets/hard_branch.py); None where none are.
        whole_below: particles below which all of an event are drawn so, for the same networks
            (nets/whole_branch.py); 0 where none are.
        optimiser: one of OPTIMISERS.
        rate: peak learning rate.
        betas: momenta of the optimiser.
        weight_decay: decoupled, relative to the rate.
        warmup_epochs: linear rise of the rate, in epochs.
        epochs: passes over the training events; not used where steps is given.
        steps: optimiser steps in all.
        epoch_steps: optimiser steps that count as an epoch where events come as a stream.
        batch: events per optimiser step and process.
        clip: largest norm of the gradient of all weights together.
        ema: decay of the average of the weights, which is what is kept; it spans a twentieth of
            the steps at most (schedule.decay_of_average).
        psi_weight: of L_psi in the loss; 0 leaves it out.
        sums_weight: of the loss on the sums of particles, for networks that estimate them.
        hardness: how much more hard particles weigh in their loss, for the same networks.
        evenness: how much more the particles of small events do: 0 particles weigh alike, 1 events.
        sampler_times: share of the diffusion times of particles that are those at which the sampler
            below evaluates them (times.py); the others are drawn evenly.
        branch: "both" are trained, or "event" alone: what draws event vectors and what else is
            drawn before particles (slices, hard particles, whole events). It costs little, and may
            be shown many more events. Or "particles" alone; or "hard" particles alone, or event
            "vectors", or "whole" events.
        event_times: diffusion times, evenly apart, at which a step shows what is denoised before
            particles (slices; event vectors where no likelihood draws these): the
            event branch costs little and has one vector where the other has 200 particles.
        calibration_events: generated at the end to measure the model's spectra and its first
            velocity on; 0 for none, and none where fewer events were trained on.
        symmetries: turn and mirror every event at random, each epoch anew.
        precision: one of PRECISIONS; weights and optimiser are float32 in both.
        validation_fraction: of the events, set aside where no validation file is given.
        validation_events: at most this many of them.
        scaling_events: of a stream, read first to measure the scaling and to validate on.
        seed: of weights, order, times and noise.
        processes: how many share a step; fixed by the launcher.
        budget: particles in a pass through the network; None chooses by device.
        save_seconds: between two writings of the state.
        memory_gb: events are kept in memory up to this size; None is a quarter of the machine's.
        compile: whether torch.compile prepares the network.
        solver: what hi-sample uses unless told otherwise.
        solver_steps: its steps.
        solver_small_solver: the same in small events; None where it is no other.
        solver_small_steps: steps of these at most, where that is more (sampling.steps_of).
        solver_grid: and their times.
        solver_corrections: and how often particles of other events are then moved to their sums.
    """

    preset: str = "paper"
    network: NetworkConfig = field(default_factory=NetConfig)
    representation: str = "standardised"
    log_columns: tuple[str, ...] = ()
    slice_harmonics: tuple[int, ...] = ()
    hard_from: float | None = None
    whole_below: int = 0
    optimiser: str = "lion"
    rate: float = 3e-5
    betas: tuple[float, float] = (0.95, 0.99)
    weight_decay: float = 0.0
    warmup_epochs: float = 3.0
    epochs: int = 75
    steps: int | None = None
    epoch_steps: int = 500
    batch: int = 64
    clip: float = 1.0
    ema: float = 0.999
    psi_weight: float = 0.0
    sums_weight: float = 0.0
    hardness: float = 0.0
    evenness: float = 0.0
    sampler_times: float = 0.0
    branch: str = "both"
    event_times: int = 1
    calibration_events: int = 0
    symmetries: bool = False
    precision: str = "float32"
    validation_fraction: float = 0.05
    validation_events: int = 10_000
    scaling_events: int = 2000
    seed: int = 1
    processes: int = 1
    budget: int | None = None
    save_seconds: float = 60.0
    memory_gb: float | None = None
    compile: bool = False
    solver: str = "ab2"
    solver_steps: int = 32
    solver_small_solver: str | None = None
    solver_small_steps: int = 0
    solver_grid: str = "uniform"
    solver_corrections: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot train."""
        wrong = {
            "rate": 0 < self.rate < math.inf,
            "betas": len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas),
            "memory_gb": self.memory_gb is None or 0 <= self.memory_gb <= MOST_MEMORY_GB,
            "warmup_epochs": 0 <= self.warmup_epochs <= MOST_WARMUP_EPOCHS,
            "epochs": self.epochs > 0,
            "steps": self.steps is None or self.steps > 0,
            "batch": self.batch > 0,
            "evenness": 0 <= self.evenness <= 1,
            "sampler_times": 0 <= self.sampler_times < 1,
            "event_times": self.event_times > 0,
            "calibration_events": self.calibration_events >= 0,
            "clip": 0 < self.clip < math.inf,
            "ema": 0 <= self.ema < 1,
            "validation_fraction": 0 < self.validation_fraction < 1,
            "branch": self.branch in BRANCHES,
            "optimiser": self.optimiser in OPTIMISERS,
            "precision": self.precision in PRECISIONS,
            "budget": self.budget is None or self.budget > 0,
        }
        wrong |= {name: 0 <= getattr(self, name) < math.inf for name in NOT_NEGATIVE}
        for name, right in wrong.items():
            if not right:
                raise InputError(f"training: {name} {getattr(self, name)} is out of range")

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, without the network (config.json holds it beside)."""
        values = asdict(self)
        del values["network"]
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
        }


def differences(options: TrainingOptions, recorded: dict[str, Any]) -> list[str]:
    """What decides the result of a training and differs from a run that was begun.

    Args:
        options: of this run.
        recorded: to_dict() of the other's.

    Returns:
        A sentence each: "rate 0.001 then, 0.002 now".
    """

    def deciding(values: dict[str, Any]) -> dict[str, Any]:
        # Half the batch in twice the processes makes the same steps.
        return values | {"batch": values.get("batch", 0) * values.get("processes", 1)}

    then, now = deciding(recorded), deciding(options.to_dict())
    return [
        f"{name} {then.get(name)} then, {now[name]} now"
        for name in now
        if name not in HOW_IT_RUNS and now[name] != then.get(name)
    ]


QUICK = TrainingOptions(
    preset="quick",
    network=NetConfig(width=64, n_blocks=3, n_head_blocks=1, n_local_layers=0),
    log_columns=("pt", "mean_pt", "sum_pt", "n_coll", "n_part", "n_particles"),
    optimiser="adamw",
    rate=2e-3,
    betas=(0.9, 0.99),
    warmup_epochs=1.0,
    steps=600,
    ema=0.99,
    solver_steps=16,
)

ROTARY: Final = TrainingOptions(
    preset="rotary",
    network=RotaryConfig(),
    representation="aligned",
    slice_harmonics=(3, 2),
    hard_from=2.0,
    whole_below=64,
    optimiser="adamw",
    rate=2e-3,
    betas=(0.9, 0.99),
    weight_decay=0.01,
    warmup_epochs=0.1,
    epochs=20,
    batch=32,
    ema=0.999,
    sums_weight=0.1,
    hardness=1.0,
    evenness=0.5,
    sampler_times=0.8,
    event_times=8,
    calibration_events=2000,
    symmetries=True,
    solver_steps=4,
    solver_small_solver="sab2",
    solver_small_steps=16,
    solver_grid="power",
    solver_corrections=1,
)

PRESETS: Final[dict[str, TrainingOptions]] = {
    "rotary": ROTARY,
    "paper": TrainingOptions(),
    "quick": QUICK,
}
"""rotary: closes better in fewer evaluations (docs/rotary.md). paper: the numbers of the paper,
exactly. quick: a small network of the paper's kind, for trials on a CPU."""
