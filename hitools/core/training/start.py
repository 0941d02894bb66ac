"""Putting a training together: events, scaling, network, folder; or going on with one begun.

What hi-train calls, and what a notebook would. A folder that holds a run with the same options and
the same events continues it; any other is refused.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from hitools.core.batch import EventBatch
from hitools.core.diffusion.objective import Shown
from hitools.core.errors import InputError
from hitools.core.features import IntArray
from hitools.core.format.meta import EventMeta
from hitools.core.model.folder import ModelConfig, ModelFolder
from hitools.core.model.sampling import most_steps
from hitools.core.nets.networks import Network, build, resized
from hitools.core.nets.rotary_config import RotaryConfig
from hitools.core.noise import NoiseKey
from hitools.core.processes import accelerated, agreed, autocast_for, from_first
from hitools.core.representation.aligned import Aligned
from hitools.core.representation.by_name import REPRESENTATIONS
from hitools.core.scaling import Representation
from hitools.core.symmetry import mirrors_eta
from hitools.core.training.data import TrainingData, memory_limit, open_packed, pack, split
from hitools.core.training.feed import Feed, FileFeed, Sharing, Step, StreamFeed
from hitools.core.training.loop import Plan, Trainer
from hitools.core.training.options import TrainingOptions, differences
from hitools.core.training.resident import Events, ResidentEvents, settled
from hitools.core.training.step import Objective
from hitools.core.training.times import ParticleTimes

_ROWS: Final = 1024
"""Events looked at together where all of them have to be."""

_VALIDATION_SEED: Final = 0
"""The same noise in every run, so that runs compare like epochs."""

_SHOWN: Final[dict[str, Shown]] = {
    "both": "all",
    "particles": "all",
    "event": "before particles",
    "hard": "before particles",
    "vectors": "vectors",
    "whole": "whole",
}
"""Of the events, to train a branch."""


@dataclass(frozen=True)
class Sources:
    """Where events come from.

    Attributes:
        training: batches of events.
        validation: events that the user set aside; None sets some of the training events aside.
        is_stream: training events come from a pipe, each once.
        meta: tells what is known of the training events, once they were read.
    """

    training: Iterable[EventBatch]
    validation: Iterable[EventBatch] | None
    is_stream: bool
    meta: Callable[[], EventMeta]


@dataclass(frozen=True)
class Start:
    """Where the weights begin.

    Attributes:
        model: a trained model; None begins with random weights.
        scaling: keep its constants, or measure them on the new events. Either way the limits of
            counts and momenta are those of the new events.
        sizes: of the model's event branch, by name, that are to be others: what has another size
            begins with random weights.
        slice_harmonics: that its slices have to have; () for any.
    """

    model: ModelFolder | None = None
    scaling: Literal["recompute", "keep"] = "recompute"
    sizes: Mapping[str, float] = field(default_factory=dict)
    slice_harmonics: tuple[int, ...] = ()


@dataclass(frozen=True)
class Prepared:
    """A training ready to run.

    Attributes:
        trainer: runs it.
        total_steps: optimiser steps in all.
        steps_per_epoch: of these, between two validations.
        first_step: steps that were done before.
        n_weights: parameters of the network.
        data: counts of events, as in config.json.
        calibration: training events to set the spectra right with, from all parts of the data; none
            where there are fewer than options say.
        device: where it runs, for people.
        is_main: whether this process speaks and writes.
    """

    trainer: Trainer
    total_steps: int
    steps_per_epoch: int
    first_step: int
    n_weights: int
    data: dict[str, Any]
    calibration: EventBatch
    device: str
    is_main: bool


@contextmanager
def prepared(
    options: TrainingOptions,
    sources: Sources,
    start: Start,
    path: Path,
    stamp: Callable[[EventMeta], EventMeta],
) -> Iterator[Prepared]:
    """Read the events, lock and fill the folder; the training runs inside the block.

    Args:
        options: of the training.
        sources: of events.
        start: of the weights.
        path: folder of the model.
        stamp: adds this command to the provenance of the events.

    Raises:
        InputError: another run writes this folder, the folder holds something else, the events
            cannot be used.
    """
    folder = ModelFolder(path)
    node_data = folder.node_data
    with accelerated() as accelerator, _exclusive(folder, accelerator):
        options = replace(options, processes=accelerator.num_processes)
        try:
            yield _prepare(options, sources, start, folder, node_data, stamp, accelerator)
        finally:
            if accelerator.is_local_main_process:
                shutil.rmtree(node_data, ignore_errors=True)


@contextmanager
def _exclusive(folder: ModelFolder, accelerator: Accelerator) -> Iterator[None]:
    lock = folder.locked() if accelerator.is_main_process else nullcontext()
    with ExitStack() as stack:
        agreed(accelerator, lambda: stack.enter_context(lock))
        yield


def _prepare(
    options: TrainingOptions,
    sources: Sources,
    start: Start,
    folder: ModelFolder,
    node_data: Path,
    stamp: Callable[[EventMeta], EventMeta],
    accelerator: Accelerator,
) -> Prepared:
    begun = from_first(accelerator, lambda: folder.read_config() if folder.begun() else None)
    initial = agreed(accelerator, lambda: start.model.read_model() if start.model else None)
    if initial is not None:
        options = _as_of_model(options, start, initial[1])
    elif isinstance(options.network, RotaryConfig) and not options.network.whole_width:
        options = replace(options, whole_below=0)
    if options.whole_below:  # no smaller event needs a solver's steps
        steps = most_steps(options.whole_below, options.solver_steps, options.solver_small_steps)
        options = replace(options, solver_small_steps=steps)
    if options.sums_weight and not isinstance(options.network, RotaryConfig):
        raise InputError(
            f"training: the preset {options.preset!r} has a loss on sums, which a network of kind "
            f"{options.network.kind!r} does not estimate: take --preset paper, or --sums-loss 0"
        )
    if options.branch == "hard" and options.hard_from is None:
        raise InputError("--branch hard: this network does not draw hard particles by themselves")
    if options.branch == "whole" and not options.whole_below:
        raise InputError("--branch whole: this network draws no events as a whole")
    fresh: Iterator[EventBatch] = iter(())
    if sources.is_stream:
        data, fresh = _first_of_stream(sources, options, accelerator)
    else:
        data = agreed(accelerator, lambda: _read(sources, options, node_data, accelerator))
    if not data.events.weights_or_ones[data.train].sum() > 0:
        raise InputError("training: the weights of the events to train on add up to 0")
    facts = data.describe() | {"stream": sources.is_stream}
    meta = from_first(accelerator, sources.meta)  # of all files, once they were read
    sharing = Sharing(
        options.batch * accelerator.num_processes,
        accelerator.process_index,
        accelerator.num_processes,
        NoiseKey.of(options.seed, "training time"),
        NoiseKey.of(options.seed, "training symmetry") if options.symmetries else None,
        mirrors_eta(meta.system),
        ParticleTimes.of(
            options.sampler_times,
            options.solver_steps,
            options.solver_small_steps,
            options.solver_grid,
        ),
    )
    shown = _to_show(data, options)
    events = settled(data.events, accelerator.device, options.memory_gb)
    feed: Feed
    if sources.is_stream:
        feed = StreamFeed(fresh, sharing, options.epoch_steps)
    else:
        feed = FileFeed(shown, sharing, options.seed, events)

    if begun is not None:
        agreed(accelerator, lambda: _refuse_another_run(folder, begun, options, facts))
        representation = begun.representation
    else:
        representation = from_first(accelerator, lambda: _scaling(data, meta, options, start))
        config = ModelConfig(
            network=options.network,
            representation=representation,
            meta=stamp(meta),
            training=options.to_dict(),
            data=facts,
            sampling={
                "solver": options.solver,
                "steps": options.solver_steps,
                "small_solver": options.solver_small_solver,
                "small_steps": options.solver_small_steps,
                "grid": options.solver_grid,
                "corrections": options.solver_corrections,
            },
        )
        if accelerator.is_main_process:
            folder.write_config(config)

    model = _random_model(options, representation)
    if initial is not None:
        _begin_from(initial[0], model)
    total_steps = options.steps or options.epochs * feed.steps_per_epoch
    trainer = Trainer(
        Plan(
            options=options,
            total_steps=total_steps,
            feed=feed,
            validation=lambda: _validation_steps(shown, events, accelerator),
            objective=_objective(options, representation, accelerator, "training"),
            validation_objective=_objective(options, representation, accelerator, "validation"),
        ),
        model,
        folder,
        accelerator,
    )
    return Prepared(
        trainer=trainer,
        total_steps=total_steps,
        steps_per_epoch=feed.steps_per_epoch,
        first_step=trainer.resume(),
        n_weights=sum(weight.numel() for weight in model.parameters()),
        data=facts,
        calibration=_calibration(data, options.calibration_events),
        device=_device_name(accelerator, events),
        is_main=accelerator.is_main_process,
    )


def _as_of_model(options: TrainingOptions, start: Start, config: ModelConfig) -> TrainingOptions:
    """Network and representation of the model to start from, with other sizes where asked for."""
    kind = config.representation
    harmonics = kind.slices.sums.harmonics if isinstance(kind, Aligned) else ()
    hard_from = kind.hard_from if isinstance(kind, Aligned) else None
    network = resized(config.network, start.sizes)
    whole_below = 0
    if isinstance(kind, Aligned) and isinstance(network, RotaryConfig) and network.whole_width:
        whole_below = kind.whole_below or options.whole_below
    if start.slice_harmonics not in ((), harmonics):
        has = f"those of {','.join(map(str, harmonics))}" if harmonics else "none"
        raise InputError(f"--slice-harmonics: a model to start from keeps its slices, {has}")
    return replace(
        options,
        network=network,
        representation=kind.name,
        slice_harmonics=harmonics,
        hard_from=hard_from,
        whole_below=whole_below,
    )


# Events --------------------------------------------------------------------------------------


def _read(
    sources: Sources, options: TrainingOptions, node_data: Path, accelerator: Accelerator
) -> TrainingData:
    """All events; processes of one node share them in a file."""
    shared = accelerator.num_processes > 1
    n_validation = 0

    def counted(batches: Iterable[EventBatch]) -> Iterator[EventBatch]:
        nonlocal n_validation
        for batch in batches:
            n_validation += len(batch)
            yield batch

    def work() -> tuple[EventBatch, int] | None:
        if not accelerator.is_local_main_process:
            return None
        limit = 0 if shared else memory_limit(options.memory_gb)
        batches = chain(sources.training, counted(sources.validation or ()))
        return pack(batches, node_data, limit), n_validation

    packed = agreed(accelerator, work)
    if shared:
        counts = torch.tensor([n_validation], device=accelerator.device)
        n_validation = int(accelerator.gather(counts).max())
    events = packed[0] if packed is not None else open_packed(node_data)
    return split(
        events,
        n_validation,
        options.validation_fraction,
        options.validation_events,
        options.seed,
    )


def _first_of_stream(
    sources: Sources, options: TrainingOptions, accelerator: Accelerator
) -> tuple[TrainingData, Iterator[EventBatch]]:
    """The first events, to measure the scaling on and to validate with, and the stream after."""
    if accelerator.num_processes > 1:
        raise InputError("a stream of events feeds one process, not more (write it to a file)")
    source = iter(sources.training)
    first: list[EventBatch] = []
    missing = options.scaling_events
    rest = EventBatch.empty()
    for batch in source:
        first.append(batch[:missing])
        rest = batch[missing:]
        missing -= len(first[-1])
        if missing <= 0:
            break
    if missing > 0:
        raise InputError(
            f"the stream ended {missing} events short of the {options.scaling_events} "
            "that scaling and validation take"
        )
    events = EventBatch.concatenate(first)
    rows = np.flatnonzero(events.n_particles > 0)
    data = TrainingData(events, rows, rows[: options.validation_events])
    return data, chain([rest], source)


def _calibration(data: TrainingData, n_events: int) -> EventBatch:
    """So many of the events to train on, evenly spread; none where there are not as many."""
    if len(data.train) < n_events:
        n_events = 0
    places = np.arange(n_events) * len(data.train) // max(n_events, 1)
    return data.events.take(data.train[places])


def _to_show(data: TrainingData, options: TrainingOptions) -> TrainingData:
    """The events that the branch can learn from; the scaling and the record are of all."""
    if options.branch != "whole":
        return data
    few = data.events.n_particles < options.whole_below
    shown = replace(data, train=data.train[few[data.train]])
    shown = replace(shown, validation=data.validation[few[data.validation]])
    for what, rows in (("train on", shown.train), ("validate with", shown.validation)):
        if not len(rows):
            raise InputError(
                f"--branch whole: no event of fewer than {options.whole_below} particles to {what}"
            )
    return shown


def _in_pieces(rows: IntArray) -> Iterator[IntArray]:
    for first in range(0, len(rows), _ROWS):
        yield rows[first : first + _ROWS]


def _validation_steps(
    data: TrainingData, events: Events, accelerator: Accelerator
) -> Iterator[Step]:
    """This process's part of the validation events."""
    key = NoiseKey.of(_VALIDATION_SEED, "validation time")
    mine = data.validation[accelerator.process_index :: accelerator.num_processes]
    for rows in _in_pieces(mine):
        yield Sharing(len(rows), 0, 1, key).step(events, rows, rows, 0)


# Scaling, network, objective -------------------------------------------------------------------


def _scaling(
    data: TrainingData, meta: EventMeta, options: TrainingOptions, start: Start
) -> Representation:
    if options.representation not in REPRESENTATIONS:
        raise InputError(
            f"training: representation {options.representation!r}, "
            f"expected one of {', '.join(REPRESENTATIONS)}"
        )
    selection = meta.selection
    measured = REPRESENTATIONS[options.representation].fit(
        (data.events.take(rows) for rows in _in_pieces(data.train)),
        log_columns=options.log_columns,
        slice_harmonics=options.slice_harmonics,
        hard_from=options.hard_from,
        whole_below=options.whole_below,
        eta_max=selection.eta_max if selection else None,
        pt_min=selection.pt_min if selection else 0.0,
    )
    if start.model is None or start.scaling == "recompute":
        return measured
    return start.model.read_config().representation.with_ranges_of(measured)


def _random_model(options: TrainingOptions, representation: Representation) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        return build(options.network, representation)


def _begin_from(initial: Network, model: Network) -> None:
    """Take the weights of a model; what of the event branch has another size keeps its own."""
    parts = dict(initial.named_children())
    event_branch = model.event_branch()
    for name, part in model.named_children():
        of_initial = parts.get(name)
        if of_initial is None:
            continue  # what draws whole events, where the model to begin from drew none
        if part not in event_branch or _shapes(part) == _shapes(of_initial):
            part.load_state_dict(of_initial.state_dict())


def _shapes(part: nn.Module) -> dict[str, torch.Size]:
    return {name: weight.shape for name, weight in part.state_dict().items()}


def _objective(
    options: TrainingOptions, representation: Representation, accelerator: Accelerator, use: str
) -> Objective:
    seed = options.seed if use == "training" else _VALIDATION_SEED
    return Objective(
        representation=representation,
        event_key=NoiseKey.of(seed, f"{use} event"),
        particle_key=NoiseKey.of(seed, f"{use} particles"),
        shown=_SHOWN[options.branch],
        psi_weight=options.psi_weight,
        sums_weight=options.sums_weight,
        hardness=options.hardness,
        evenness=options.evenness,
        event_times=options.event_times,
        autocast=autocast_for(options.precision, accelerator.device),
    )


def _refuse_another_run(
    folder: ModelFolder, begun: ModelConfig, options: TrainingOptions, facts: dict[str, Any]
) -> None:
    """Raise InputError where the folder's run had other options or events."""
    found = differences(options, begun.training)
    if begun.network != options.network:
        found.append("another network")
    if not facts["stream"] and begun.data != facts:
        found.append("other events")
    if found:
        raise InputError(
            f"{folder.path}: holds a run that was begun differently ({'; '.join(found)}): "
            "repeat its command to continue it, or take another folder"
        )


def _device_name(accelerator: Accelerator, events: Events) -> str:
    device = accelerator.device
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        name += " with the events" if isinstance(events, ResidentEvents) else ""
    else:
        name = f"CPU, {torch.get_num_threads()} threads"
    n_processes = accelerator.num_processes
    return name if n_processes == 1 else f"{n_processes} processes, each {name}"
