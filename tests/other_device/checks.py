"""The same work on the CPU and on another device: prints as JSON by how much the results differ.

A process of its own, see device.py: `python -m tests.other_device.checks`.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from accelerate import Accelerator

from hitools.core.batch import EventBatch
from hitools.core.compare.classify import training as classifiers
from hitools.core.compare.classify.dataset import LabelledEvents, split
from hitools.core.generator import Generator
from hitools.core.model.sampling import Sampling
from hitools.core.model.shipped import default_model
from hitools.core.processes import accelerated
from hitools.core.training import start
from hitools.core.training.options import TrainingOptions
from hitools.core.training.resident import ResidentEvents
from tests.conftest import DATA, read_all
from tests.core.training.test_training import OPTIONS, ROTARY, train
from tests.other_device.device import OTHER, present

CPU = torch.device("cpu")
PAPER = replace(OPTIONS, epochs=2)
ALL_OF_ROTARY = replace(ROTARY, epochs=2, whole_below=30, calibration_events=20)


def there_is(device: torch.device) -> AbstractContextManager[None]:
    """The device is there within the block."""
    return nullcontext() if device == CPU else present()


def sampled(device: torch.device) -> EventBatch:
    """Events of the shipped model."""
    model, config = default_model().read_model()
    with there_is(device):
        sampling = Sampling.of(3, config.sampling, {})
        return Generator(model, config, sampling, device).make(range(12))


def weights(
    events: EventBatch,
    options: TrainingOptions,
    device: torch.device,
    stops: tuple[int | None, ...],
) -> dict[str, torch.Tensor]:
    """Of a training that is killed and continued after so many steps.

    On the other device the events are in its memory, as on a GPU.
    """

    @contextmanager
    def there() -> Iterator[Accelerator]:
        with accelerated() as accelerator:
            accelerator.state.device = device
            yield accelerator

    def settled(events: EventBatch, device: torch.device, memory_gb: float | None) -> object:
        del memory_gb
        return events if device == CPU else ResidentEvents.on(events, device)

    with (
        tempfile.TemporaryDirectory() as folder,
        there_is(device),
        patch.object(start, "accelerated", there),
        patch.object(start, "settled", settled),
    ):
        for stop in stops:
            trained = train(events, Path(folder) / "model", options, stop_after=stop)
        return trained.read_weights()


def logits(name: str, events: EventBatch, device: torch.device) -> np.ndarray:
    """Of a classifier that was trained to tell two halves of the events."""
    half = len(events) // 2
    data = LabelledEvents.from_batches(events[:half], events[half:])
    parts = split(data.is_reference, np.random.default_rng(7))
    options = classifiers.TrainingOptions(device=str(device), max_epochs=2)
    with there_is(device):
        return classifiers.train(name, data, parts, options, seed=8).test


def refused() -> dict[str, bool]:
    """Is refused what CUDA refuses, and is the rest not?"""
    with present():
        three = torch.ones(3, device=OTHER)
        tries = {
            "mixture": lambda: three + torch.ones(3),
            "matrix of the CPU": lambda: torch.nn.Linear(3, 2)(three),
            "numpy": three.numpy,
            "index of the other device": lambda: torch.ones(3)[three.long()],
            "fine: a number": lambda: three + torch.tensor(2.0),
            "fine: copied": lambda: three.cpu().numpy() + torch.ones(3).to(OTHER).cpu().numpy(),
        }
        found = {}
        for name, call in tries.items():
            try:
                call()
                found[name] = False
            except (RuntimeError, TypeError):
                found[name] = True
    return found


def main() -> None:
    """Everything, once on each device."""
    few = read_all(DATA / "oo.h5")
    small = few.take(np.flatnonzero((few.n_particles > 0) & (few.n_particles < 60))[:16])
    differences = {}
    here, there = sampled(CPU), sampled(OTHER)
    assert np.array_equal(here.offsets, there.offsets)
    differences["sampling"] = max(
        np.abs(here.events - there.events).max(), np.abs(here.particles - there.particles).max()
    )
    for name, options in {"paper": PAPER, "rotary": ALL_OF_ROTARY}.items():
        once = weights(small, options, CPU, (None,))
        again = weights(small, options, OTHER, (3, None))
        differences[f"training, {name}"] = max(
            float((once[key] - again[key]).abs().max()) for key in once
        )
    for name in ("event", "deepsets", "transformer"):
        differences[f"classifier, {name}"] = np.abs(
            logits(name, few, CPU) - logits(name, few, OTHER)
        ).max()
    sys.stdout.write(json.dumps({"refused": refused(), "differences": differences}, default=float))


if __name__ == "__main__":
    main()
