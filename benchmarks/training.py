"""Speed of training and sampling on real events, next to the padded way of doing it.

    python benchmarks/training.py EVENTS.h5 [--device cuda] [--preset paper quick] [--json]

Each row is a process of its own. "padded" is the same network with every event in 1024 slots and
dense masked attention (padded.py), for networks of the paper's kind; its output is the packed
network's. On the CPU rates are per
second of processor time of one core, on a GPU per second. Training is hi-train's own loop, data
feeding and optimiser included, after a warm-up; sampling is hi-sample's generator with the preset's
solver, for as many particles as real events have. bf16 and torch.compile stand beside float32,
which is the default: each becomes one where this table says that it pays. On a GPU training events
lie in its memory, in the way "packed host" in that of the host. The status is 1 where a row failed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from padded import N_MAX, PaddedDenoiser

if TYPE_CHECKING:
    from hitools.core.batch import EventBatch
    from hitools.core.scaling import Representation
    from hitools.core.training.options import TrainingOptions

WAYS = {
    "cpu": ("packed", "packed bf16", "packed compile", "packed bf16 compile", "padded"),
    "cuda": (
        "packed",
        "packed host",
        "packed bf16",
        "packed compile",
        "packed bf16 compile",
        "padded",
    ),
}
WARM_UP_STEPS = 2
PADDED_BUDGET = {"cpu": 400, "cuda": 1 << 14}
"""Real particles in a padded pass: what fits into memory in 1024 slots an event."""


def clock(device: str) -> float:
    """Seconds: of the processor, or of the wall once the GPU has finished."""
    import torch

    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def read(path: Path, n_events: int) -> "EventBatch":
    """The first events that hold particles."""
    from hitools.core.batch import EventBatch
    from hitools.core.format.reader import open_events

    kept: list[EventBatch] = []
    with open_events(path) as events:
        for batch in events:
            kept.append(batch.take(batch.n_particles > 0))
            if sum(map(len, kept)) >= n_events:
                break
    return EventBatch.concatenate(kept)[:n_events]


def fitted(events: "EventBatch", options: "TrainingOptions") -> "Representation":
    """The preset's representation of these events."""
    from hitools.core.representation.by_name import REPRESENTATIONS

    kind = REPRESENTATIONS[options.representation]
    return kind.fit(
        [events],
        log_columns=options.log_columns,
        slice_harmonics=options.slice_harmonics,
        hard_from=options.hard_from,
        eta_max=2.5,
    )


def network(options: "TrainingOptions", representation: "Representation", way: str) -> Any:
    """The preset's network with random weights."""
    import torch

    from hitools.core.nets.networks import build

    torch.manual_seed(0)
    if way == "padded":
        return PaddedDenoiser(options.network)
    return build(options.network, representation)


def train(
    events: "EventBatch", options: "TrainingOptions", way: str, steps: int
) -> dict[str, float]:
    """Events a second in the loop of hi-train, its waiting for data, and the GPU's memory."""
    import numpy as np

    from hitools.core.model.folder import ModelFolder
    from hitools.core.noise import NoiseKey
    from hitools.core.processes import accelerated, autocast_for
    from hitools.core.training.data import TrainingData
    from hitools.core.training.feed import FileFeed, Sharing
    from hitools.core.training.loop import Plan, Report, Trainer
    from hitools.core.training.resident import settled
    from hitools.core.training.step import Objective

    key = NoiseKey.of(1, "training time")
    rows = np.arange(len(events))
    few = rows[:2]  # the loop ends with a validation, which is not timed
    marks: list[tuple[int, float]] = []
    epochs: list[dict[str, Any]] = []

    with tempfile.TemporaryDirectory() as name, accelerated() as accelerator:
        device = accelerator.device.type

        def report(now: Report) -> None:
            if now.line is None:
                marks.append((now.step, clock(device)))
            else:
                epochs.append(now.line)

        representation = fitted(events, options)
        objective = Objective(
            representation,
            NoiseKey.of(1, "training event"),
            NoiseKey.of(1, "training particles"),
            psi_weight=options.psi_weight,
            sums_weight=options.sums_weight,
            hardness=options.hardness,
            evenness=options.evenness,
            event_times=options.event_times,
            autocast=autocast_for(options.precision, accelerator.device),
        )
        symmetry_key = NoiseKey.of(1, "training symmetry") if options.symmetries else None
        sharing = Sharing(options.batch, 0, 1, key, symmetry_key)
        place = settled(events, accelerator.device, 0.0 if "host" in way else None)
        plan = Plan(
            options=options,
            total_steps=WARM_UP_STEPS + steps + 1,
            feed=FileFeed(TrainingData(events, rows, few), sharing, 1, place),
            validation=lambda: [Sharing(len(few), 0, 1, key).step(events, few, few, 0)],
            objective=objective,
            validation_objective=objective,
        )
        folder = ModelFolder(name)
        folder.state_folder.mkdir()
        model = network(options, representation, way)
        Trainer(plan, model, folder, accelerator).run(report)
    timed = [mark for mark in marks if mark[0] >= WARM_UP_STEPS]
    (first, start), (last, end) = timed[0], timed[-1]
    return {
        "events_per_s": (last - first) * options.batch / (end - start),
        "waiting_fraction": epochs[-1]["waiting_fraction"],
        "gpu_memory_gb": epochs[-1].get("gpu_memory_gb", 0.0),
    }


def sample(
    events: "EventBatch", options: "TrainingOptions", way: str, n_events: int
) -> dict[str, float]:
    """Events a second of hi-sample's generator: event vectors, then their particles."""
    import numpy as np

    from hitools.core.format.meta import EventMeta
    from hitools.core.generator import Generator
    from hitools.core.model.folder import ModelConfig
    from hitools.core.model.sampling import Sampling
    from hitools.core.nets.compiling import compile_network
    from hitools.core.processes import accelerated, autocast_for

    representation = fitted(events, options)
    config = ModelConfig(
        network=options.network,
        representation=representation,
        meta=EventMeta(system="O-O"),
        training={},
        data={"n_particles": int(events.offsets[-1]), "n_train": len(events)},
        sampling={},
    )
    model = network(options, representation, way)
    if options.compile:
        compile_network(model)
    with accelerated() as accelerator:
        device = accelerator.device.type
        generator = Generator(
            model,
            config,
            Sampling(seed=1, solver=options.solver, steps=options.solver_steps),
            accelerator.device,
            budget=options.budget,
            autocast=autocast_for(options.precision, accelerator.device),
            like=events.events,
        )

        def make(numbers: range) -> None:
            # The event branch makes vectors as ever; particles are made for real ones, so that
            # there are as many as in real events.
            index = np.arange(numbers.start, numbers.stop)
            generator.draw_vectors(index, np.zeros_like(index))
            generator.make(numbers)

        make(range(2))
        start = clock(device)
        make(range(2, 2 + n_events))
        return {"events_per_s": n_events / (clock(device) - start)}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """One row, in this process."""
    import torch

    from hitools.core.training.options import PRESETS

    (preset,), way = options.preset, options.way
    if options.device == "cpu":
        torch.set_num_threads(1)
    words = way.split()
    training = replace(
        PRESETS[preset],
        batch=options.batch,
        precision="bf16" if "bf16" in words else "float32",
        compile="compile" in words,
        budget=PADDED_BUDGET[options.device] if way == "padded" else None,
        save_seconds=1e9,
    )
    events = read(options.events, (WARM_UP_STEPS + options.steps + 2) * options.batch)
    # The time of a padded event does not depend on the event.
    n_sampled = max(1, options.samples // 8) if way == "padded" else options.samples
    return {
        "preset": preset,
        "way": way,
        "train": train(events, training, way, options.steps),
        "sample": sample(events, training, way, n_sampled),
    }


def padded_share(events: "EventBatch", batch: int, device: str) -> float:
    """Padded slots over all slots of the packed way: a GPU searches neighbours in groups."""
    import numpy as np
    import torch

    from hitools.core.nets.layout import Layout
    from hitools.core.nets.stacks import similar_events

    real = slots = 0
    for first in range(0, len(events) - batch + 1, batch):
        counts = np.sort(events.n_particles[first : first + batch])[::-1]
        offsets = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)]))
        layout = Layout.from_offsets(offsets, torch.device("cpu"))
        for stack in similar_events(layout, device):
            lengths = [layout.counts[event] for event in stack]
            real += sum(lengths)
            slots += max(lengths) * len(lengths)
    return 1 - real / slots


def ways_of(preset: str, asked: Sequence[str]) -> list[str]:
    """Of those asked for, the ways that the preset's network can be computed in."""
    from hitools.core.nets.config import NetConfig
    from hitools.core.training.options import PRESETS

    paper_s_kind = isinstance(PRESETS[preset].network, NetConfig)
    return [way for way in asked if way != "padded" or paper_s_kind]


def row_of(command: Sequence[str], limit: float | None) -> dict[str, Any]:
    """What a process of its own measures, or why it did not."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {limit:g} s"}
    if result.returncode:
        return {"error": (result.stderr.strip() or f"status {result.returncode}").splitlines()[-1]}
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def where(device: str) -> dict[str, str]:
    """What was measured on."""
    import torch

    on_gpu = device == "cuda"
    name = torch.cuda.get_device_name() if on_gpu else "one CPU core, processor time"
    return {"device": name, "torch": torch.__version__}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("events", type=Path, metavar="EVENTS.h5")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--preset", nargs="+", default=["paper", "quick"])
    parser.add_argument("--ways", nargs="+", choices=WAYS["cuda"], metavar="WAY")
    parser.add_argument("--batch", type=int, help="events a step [16, on a GPU 64]")
    parser.add_argument("--steps", type=int, help="steps to time [3, on a GPU 100]")
    parser.add_argument("--samples", type=int, help="events to sample [16, on a GPU 1000]")
    parser.add_argument("--limit", type=float, metavar="SECONDS", help="of a row")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    options = parser.parse_args()
    on_gpu = options.device == "cuda"
    options.ways = options.ways or WAYS[options.device]
    options.batch = options.batch or (64 if on_gpu else 16)
    options.steps = options.steps or (100 if on_gpu else 3)
    options.samples = options.samples or (1000 if on_gpu else 16)
    return options


def main() -> int:
    """Print the table, or as JSON; 1 where a row failed."""
    options = arguments()
    if options.way:
        print(json.dumps(measure(options)))
        return 0
    rows = []
    sizes = [
        word
        for name in ("device", "batch", "steps", "samples")
        for word in (f"--{name}", str(getattr(options, name)))
    ]
    for preset in options.preset:
        for way in ways_of(preset, options.ways):
            command = [sys.executable, __file__, str(options.events), *sizes]
            command += ["--preset", preset, "--way", way]
            print(f"{preset}, {way} ...", file=sys.stderr)
            row = {"preset": preset, "way": way} | row_of(command, options.limit)
            if "error" in row:
                print(f"{preset}, {way}: {row['error']}", file=sys.stderr)
            rows.append(row)
    events = read(options.events, 50 * options.batch)
    padding = {
        "packed": padded_share(events, options.batch, options.device),
        "padded": 1 - float(events.n_particles.mean()) / N_MAX,
    }
    measured = [row for row in rows if "error" not in row]
    status = 0 if len(measured) == len(rows) else 1
    if options.json:
        print(json.dumps(where(options.device) | {"rows": rows, "padded_slots": padding}, indent=1))
        return status
    print(f"{'preset':<8}{'way':<21}{'training':>9}{'sampling':>10}  events/s{'waiting':>10}")
    for row in measured:
        print(
            f"{row['preset']:<8}{row['way']:<21}{row['train']['events_per_s']:>9.3g}"
            f"{row['sample']['events_per_s']:>10.3g}{row['train']['waiting_fraction']:>19.1%}"
        )
    print(
        f"padded slots of all slots, {len(events)} events of {events.n_particles.mean():.0f} "
        f"particles: packed {padding['packed']:.1%}, padded {padding['padded']:.1%}"
    )
    return status


if __name__ == "__main__":
    sys.exit(main())
