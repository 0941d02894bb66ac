"""Whether a GPU computes what the CPU does: same weights, events and noise, part by part.

    python benchmarks/agreement.py EVENTS.h5 [--device cuda] [--preset paper rotary] [--json]

Every row is a relative difference (norm over norm) from the CPU in float32, and its limit; the
status is 1 where one is above. Events are turned on the device; attention runs through the kernels
of the device; a step of training and sampled events are computed in both precisions, and once more
with half the memory that they need: then the budget has to be halved, and the result to stay.
Weights are random, and none so small that a part of the network would not show. --device cpu tries
the script itself, with a network that pretends to run out of memory.
"""

import argparse
import copy
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from training import fitted, network, read

from hitools.core.batch import EventBatch
from hitools.core.budget import Budget
from hitools.core.features import EVENT_COLUMNS, PARTICLE_COLUMNS
from hitools.core.format.meta import EventMeta
from hitools.core.generator import Generator
from hitools.core.model.folder import ModelConfig
from hitools.core.model.sampling import Sampling
from hitools.core.nets.attention import attend, attend_by_runs
from hitools.core.nets.layout import Layout
from hitools.core.noise import NoiseKey
from hitools.core.processes import autocast_for, in_full_precision
from hitools.core.training.data import TrainingData
from hitools.core.training.feed import FileFeed, Sharing, Step
from hitools.core.training.options import PRESETS, TrainingOptions
from hitools.core.training.resident import ResidentEvents, tensors
from hitools.core.training.step import Objective, Sums

CPU = torch.device("cpu")
LIMITS = {
    ("turned events", "float32"): 1e-6,
    ("attention", "float32"): 1e-5,
    ("attention", "bf16"): 2e-2,
    ("losses", "float32"): 1e-4,
    ("losses", "bf16"): 2e-2,
    ("gradient", "float32"): 1e-3,
    ("gradient", "bf16"): 0.2,
    ("event vectors", "float32"): 1e-2,  # counts are rounded
    ("particles", "float32"): 1e-3,
    ("particles", "bf16"): 0.2,
}
"""The network's neighbours and the representation's quantiles are not smooth, so that rounding may
show larger than it is; a wrong kernel is wrong by the order of one."""

OUT_OF_MEMORY = ", out of memory"
SOLVER_STEPS = 8


@dataclass(frozen=True)
class Row:
    """A part, and how far the device is from the CPU."""

    preset: str
    part: str
    precision: str
    difference: float

    @property
    def limit(self) -> float:
        """Largest difference that is rounding."""
        return LIMITS[self.part.removesuffix(OUT_OF_MEMORY), self.precision]

    @property
    def good(self) -> bool:
        """Whether it is within the limit; NaN is not."""
        return self.difference <= self.limit


def difference(ours: Tensor, reference: Tensor) -> float:
    """Norm of the difference over norm of the reference."""
    ours, reference = ours.detach().double().cpu(), reference.detach().double()
    return float((ours - reference).norm() / reference.norm())


def as_numbers(columns: tuple[str, ...], values: Tensor) -> Iterator[Tensor]:
    """Each column; of an angle its cosine and sine, so that both ends of its interval are one."""
    for name, column in zip(columns, values.double().cpu().unbind(1), strict=True):
        if name in ("phi", "phi_rel", "psi_2"):
            angle = 2 * column if name == "psi_2" else column
            yield torch.stack([angle.cos(), angle.sin()])
        else:
            yield column


def largest_difference(columns: tuple[str, ...], ours: Tensor, reference: Tensor) -> float:
    """Of all columns."""
    pairs = zip(as_numbers(columns, ours), as_numbers(columns, reference), strict=True)
    return max(difference(*pair) for pair in pairs)


# What is compared ------------------------------------------------------------------------------


def turned_events(resident: Step, on_host: Step, device: torch.device) -> float:
    """Events of a step, gathered and turned on the device and on the host."""
    events, particles = tensors(resident.batch, device)
    expected_events, expected_particles = tensors(on_host.batch, CPU)
    return max(
        largest_difference(EVENT_COLUMNS, events, expected_events),
        largest_difference(PARTICLE_COLUMNS, particles, expected_particles),
    )


def attention(offsets: Tensor, device: torch.device, dtype: torch.dtype) -> float:
    """Output and gradient of self-attention over events of these multiplicities."""
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(int(offsets[-1]), 3, 4, 32, generator=generator)
    weights = torch.randn(int(offsets[-1]), 4, 32, generator=generator)

    def run(where: torch.device, kind: torch.dtype, way: Callable[..., Tensor]) -> list[Tensor]:
        x = qkv.to(where, kind).requires_grad_()
        out = way(x, Layout.from_offsets(offsets, where))
        (gradient,) = torch.autograd.grad((out.float() * weights.to(where)).sum(), x)
        return [out, gradient]

    expected = run(CPU, torch.float32, attend_by_runs)
    return max(map(difference, run(device, dtype, attend), expected))


@dataclass(frozen=True)
class Case:
    """A preset's network, which computes steps and samples wherever it is told to."""

    options: TrainingOptions
    events: EventBatch
    model: Any
    representation: Any

    def step(
        self, step: Step, device: torch.device, precision: str, budget: int
    ) -> tuple[Tensor, Tensor]:
        """(8,) sums of the losses, and the gradient of all weights in one."""
        model = copy.deepcopy(self.model).to(device)
        objective = Objective(
            self.representation,
            NoiseKey.of(1, "training event"),
            NoiseKey.of(1, "training particles"),
            psi_weight=self.options.psi_weight,
            sums_weight=self.options.sums_weight,
            hardness=self.options.hardness,
            evenness=self.options.evenness,
            event_times=self.options.event_times,
            autocast=autocast_for(precision, device),
        )
        sums = Sums(device)
        with scarcity.of(model, device):
            objective.add(model, step, Budget(budget, device), sums, train=True)
        gradients = [w.grad.flatten() for w in model.parameters() if w.grad is not None]
        return sums.values[:8].cpu(), torch.cat(gradients).cpu()

    def sample(
        self, device: torch.device, precision: str, budget: int
    ) -> tuple[EventBatch, np.ndarray]:
        """Particles for the event vectors of real events, and event vectors of its own."""
        config = ModelConfig(
            network=self.options.network,
            representation=self.representation,
            meta=EventMeta(system="O-O"),
            training={},
            data={"n_particles": int(self.events.offsets[-1]), "n_train": len(self.events)},
            sampling={},
        )
        generator = Generator(
            copy.deepcopy(self.model),
            config,
            Sampling(seed=1, solver=self.options.solver, steps=SOLVER_STEPS),
            device,
            budget=budget,
            autocast=autocast_for(precision, device),
            like=self.events.events,
        )
        index = np.arange(len(self.events))
        with scarcity.of(generator._model, device):
            made = generator.make(range(len(index)))
        return made, generator.draw_vectors(index, np.zeros_like(index))[0]


def lively(model: torch.nn.Module) -> torch.nn.Module:
    """Give weights that begin near zero a size that shows."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.abs().max() <= 1e-4:
                parameter.normal_(std=0.003)  # more, and sampling is chaotic
    return model


def rows(events: EventBatch, preset: str, device: torch.device) -> Iterator[Row]:
    """All comparisons of a preset."""
    options = PRESETS[preset]
    representation = fitted(events, options)
    every = np.arange(len(events))
    keys = (NoiseKey.of(1, f"training {what}") for what in ("time", "symmetry"))
    sharing = Sharing(len(events), 0, 1, *keys, mirror_eta=True)
    data = TrainingData(events, every, every[:1])
    on_host, resident = (
        next(FileFeed(data, sharing, 1, where).steps(0, 1))
        for where in (events, ResidentEvents.on(events, device))
    )
    yield Row(preset, "turned events", "float32", turned_events(resident, on_host, device))

    model = lively(network(options, representation, "packed"))
    case = Case(options, events, model, representation)
    total = int(events.offsets[-1])
    # Cut elsewhere than on the device, so that the CPU has something to compare with itself.
    losses, gradient = case.step(on_host, CPU, "float32", total // 3)
    made, vectors = case.sample(CPU, "float32", total // 3)

    def of_step(found: tuple[Tensor, Tensor], precision: str, note: str = "") -> Iterator[Row]:
        yield Row(preset, f"losses{note}", precision, difference(found[0], losses))
        yield Row(preset, f"gradient{note}", precision, difference(found[1], gradient))

    def of_sample(found: EventBatch, precision: str, note: str = "") -> Row:
        particles = (torch.from_numpy(one.particles) for one in (found, made))
        distance = largest_difference(PARTICLE_COLUMNS, *particles)
        return Row(preset, f"particles{note}", precision, distance)

    for precision in ("float32", "bf16"):
        yield from of_step(case.step(resident, device, precision, total), precision)
        sample, drawn = case.sample(device, precision, total)
        yield of_sample(sample, precision)
        if precision == "float32":
            pair = (torch.from_numpy(one) for one in (drawn, vectors))
            yield Row(preset, "event vectors", precision, largest_difference(EVENT_COLUMNS, *pair))

    with scarcity.half(lambda: case.step(resident, device, "float32", total), device, total):
        found = case.step(resident, device, "float32", total)
    yield from of_step(found, "float32", OUT_OF_MEMORY)
    with scarcity.half(lambda: case.sample(device, "float32", total), device, total):
        sample, _ = case.sample(device, "float32", total)
    yield of_sample(sample, "float32", OUT_OF_MEMORY)


# Out of memory -----------------------------------------------------------------------------------


class Scarcity:
    """Too little memory: on a GPU a limit of its allocator, on a CPU a network that pretends."""

    def __init__(self) -> None:
        """Plenty."""
        self._particles: int | None = None

    @contextmanager
    def half(self, work: Callable[[], object], device: torch.device, total: int) -> Iterator[None]:
        """Half of what the work takes, while the block runs, which must halve the budget."""
        halvings = Halvings()
        logger = logging.getLogger("hitools.core.budget")
        logger.addHandler(halvings)
        try:
            if device.type == "cuda":
                with self._half_of_the_gpu(work):
                    yield
            else:
                self._particles = total // 2
                yield
        finally:
            self._particles = None
            logger.removeHandler(halvings)
        if not halvings.count:
            sys.exit("agreement.py: half the memory was enough: the budget was not halved")

    @contextmanager
    def _half_of_the_gpu(self, work: Callable[[], object]) -> Iterator[None]:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_reserved()
        work()
        needed = torch.cuda.max_memory_reserved() - before
        torch.cuda.empty_cache()
        allowed = torch.cuda.memory_reserved() + needed // 2
        torch.cuda.set_per_process_memory_fraction(allowed / torch.cuda.mem_get_info()[1])
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)

    @contextmanager
    def of(self, model: Any, device: torch.device) -> Iterator[None]:
        """The network that pretends, where it has to."""
        limit = self._particles
        if device.type != "cpu" or limit is None:
            yield
            return

        def checked(method: Callable[..., Any]) -> Callable[..., Any]:
            def call(x: Tensor, *rest: Tensor) -> Any:
                if len(x) > limit:
                    raise torch.OutOfMemoryError
                return method(x, *rest)

            return call

        for name in ("particle_velocity", "particle_outputs"):
            if hasattr(model, name):
                setattr(model, name, checked(getattr(model, name)))
        yield


class Halvings(logging.Handler):
    """Counts what Budget warns of."""

    count = 0

    def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002
        """One more."""
        self.count += 1


scarcity = Scarcity()


def main() -> int:
    """Print the table, or as JSON; 1 where a difference is above its limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("events", type=Path, metavar="EVENTS.h5")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--preset", nargs="+", default=["paper", "rotary"], choices=PRESETS)
    parser.add_argument("-n", type=int, default=64, help="events to compare on [64]")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    device = torch.device(options.device)
    in_full_precision()
    events = replace(read(options.events, options.n), weights=None)

    found: list[Row] = []
    offsets = torch.from_numpy(events.offsets)
    for precision, dtype in (("float32", torch.float32), ("bf16", torch.bfloat16)):
        found.append(Row("", "attention", precision, attention(offsets, device, dtype)))
    for preset in options.preset:
        found.extend(rows(events, preset, device))
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    if options.json:
        lines = [asdict(row) | {"limit": row.limit, "good": row.good} for row in found]
        print(json.dumps({"device": name, "torch": torch.__version__, "rows": lines}, indent=1))
    else:
        print(f"{name} against the CPU in float32, {len(events)} events")
        for row in found:
            print(
                f"{row.preset:<8}{row.part:<26}{row.precision:<9}{row.difference:>9.1e}"
                f"  limit {row.limit:.0e}{'' if row.good else '  ABOVE'}"
            )
    return 0 if all(row.good for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
