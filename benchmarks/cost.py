"""What an event of a model costs: evaluations of the network, and milliseconds.

    python benchmarks/cost.py MODEL [--device cuda] [--json]

Evaluations are counted in the network while events are made, the most that an event takes. Time on
the CPU is processor time of one thread, so that other work on the machine does not matter; on a GPU
it is wall time. Loading the model and the first events are left out; events have the model's own
multiplicities. As many are made together as hi-sample does, fewer where --seconds has no room for
three such blocks: an event then costs more, and the line says how many there were.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported

MANY = 100_000
"""Events, of which hi-sample makes so many together as the memory of the device has room for."""

SECONDS = {"cpu": 60.0, "cuda": 20.0}
FEWEST_BLOCKS = 3

COUNTED_EVENTS = 16
"""Small ones may take more evaluations than large ones."""


def measure(
    name: str, device_name: str, seconds: float, precision: str, changes: dict[str, Any]
) -> dict[str, Any]:
    """Cost of an event.

    Args:
        name: of the model, or its folder.
        device_name: "cpu" or "cuda".
        seconds: to measure for, at least.
        precision: float32 or bf16.
        changes: to the solver that the model's config.json names.
    """
    import numpy as np
    import torch

    from hitools.core.generator import Generator
    from hitools.core.memory import keep_freed_memory
    from hitools.core.model.sampling import Sampling
    from hitools.core.model.shipped import describe_solver, find_model
    from hitools.core.processes import autocast_for, in_full_precision

    torch.set_num_threads(1)
    keep_freed_memory()
    device = torch.device(device_name)
    in_full_precision()
    network, config = find_model(name).read_model()
    sampling = Sampling.of(1, config.sampling, changes)
    methods = ("event_velocity", "coarse_velocity", "particle_velocity")
    calls = {method: 0 for method in methods if hasattr(network, method)}
    for method in calls:
        setattr(network, method, _counting(getattr(network, method), method, calls))
    generator = Generator(
        network, config, sampling, device, autocast=autocast_for(precision, device)
    )
    counted = _most_calls(generator, calls)
    clock = time.process_time if device_name == "cpu" else time.perf_counter
    most = max(map(len, generator.blocks(MANY)))
    block = _block(generator, most, clock, seconds / FEWEST_BLOCKS)
    per_event: list[float] = []
    n_particles, start, first = 0, clock(), MANY
    while clock() - start < seconds or len(per_event) < FEWEST_BLOCKS:
        before = clock()
        made = generator.make(range(first, first + block))  # ends on the host: it has waited
        per_event.append(1000 * (clock() - before) / block)
        n_particles += len(made.particles)
        first += block
    n_events = block * len(per_event)
    whole = sampling.solver, sampling.steps
    small = sampling.small_solver or sampling.solver, sampling.small_steps
    return {
        "model": name,
        "device": device_name,
        "device_name": _device_name(device_name),
        "precision": precision,
        "solver": describe_solver(*whole, *small, sampling.grid)
        + (f", corrections: {sampling.corrections}" if sampling.corrections else ""),
        "sampling": asdict(sampling),
        "evaluations": counted["particle_velocity"],
        "event_evaluations": counted["event_velocity"] + counted.get("coarse_velocity", 0),
        "n_events": n_events,
        "together": block,
        "together_in_hi_sample": most,
        "particles_per_event": n_particles / n_events,
        "ms_per_event": float(np.mean(per_event)),
        "ms_per_event_error": float(np.std(per_event, ddof=1) / len(per_event) ** 0.5),
    }


def _most_calls(generator: Any, calls: dict[str, int]) -> dict[str, int]:
    """Of each method for one event, the most among some events."""
    most = dict.fromkeys(calls, 0)
    for k in range(COUNTED_EVENTS):
        before = dict(calls)
        generator.make(range(k, k + 1))
        most = {method: max(n, calls[method] - before[method]) for method, n in most.items()}
    return most


def _block(generator: Any, most: int, clock: Callable[[], float], seconds: float) -> int:
    """Events to make together: as many as hi-sample does, or as these seconds have room for.

    hi-sample's blocks grow from one event on; making these warms up as well.
    """
    block, per_event = 1, 0.0
    for numbers in generator.blocks(MANY):
        if len(numbers) * per_event > seconds:
            break
        before = clock()
        generator.make(numbers)
        block, per_event = len(numbers), (clock() - before) / len(numbers)
        if block == most:
            break
    return block


def _counting(method: Any, name: str, calls: dict[str, int]) -> Any:
    def counted(*args: Any, **kwargs: Any) -> Any:
        calls[name] += 1
        return method(*args, **kwargs)

    return counted


def _device_name(device: str) -> str:
    if device == "cuda":
        import torch

        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"one core of {names[0] if names else platform.machine()}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", metavar="MODEL", help="folder or name")
    parser.add_argument("--device", choices=list(SECONDS), default="cpu")
    parser.add_argument("--seconds", type=float, help="to measure for")
    parser.add_argument("--precision", choices=["float32", "bf16"], default="float32")
    parser.add_argument("--solver")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--output", type=Path, help="JSON to this file, and nothing printed")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a line")
    options = parser.parse_args()
    given = {name: getattr(options, name) for name in ("solver", "steps")}
    found = measure(
        options.model,
        options.device,
        SECONDS[options.device] if options.seconds is None else options.seconds,
        options.precision,
        {name: value for name, value in given.items() if value is not None},
    )
    if options.output is not None:
        options.output.write_text(json.dumps(found, indent=1) + "\n")
        return
    if options.json:
        print(json.dumps(found, indent=1))
        return
    few = f", in blocks of {found['together']}"
    if found["together"] == found["together_in_hi_sample"]:
        few = ""
    print(
        f"{found['model']}: {found['evaluations']} evaluations, "
        f"{found['ms_per_event']:.2f} +- {found['ms_per_event_error']:.2f} ms an event of "
        f"{found['particles_per_event']:.0f} particles ({found['solver']}, {found['precision']}, "
        f"{found['device_name']}{few})"
    )


if __name__ == "__main__":
    main()
