"""hi-train: train the diffusion model on event files or a stream; continue a training."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hitools.cmd.common import (
    Lineage,
    command,
    input_arguments,
    provenance_option,
    quiet_option,
    say,
    seed_option,
    tracked,
)

if TYPE_CHECKING:
    from hitools.core.model.folder import ModelFolder
    from hitools.core.training.loop import Report
    from hitools.core.training.options import TrainingOptions
    from hitools.core.training.start import Prepared, Sources, Start

_PRESETS = ("rotary", "paper", "quick")


class _Setting(click.ParamType):
    """NAME=NUMBER."""

    name = "NAME=NUMBER"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float]:
        name, _, number = str(value).partition("=")
        try:
            return name, float(number)
        except ValueError:
            self.fail(f"{value!r}: expected NAME=NUMBER, like width=64", param, ctx)


class _Numbers(click.ParamType):
    """Whole numbers, separated by commas."""

    name = "N,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        try:
            return tuple(int(one) for one in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r}: expected numbers, like 3,2", param, ctx)


@command("hi-train")
@input_arguments()
@click.option("-o", "--output", metavar="MODEL", required=True, help="Folder of the model.")
@click.option(
    "--validation", metavar="FILE", multiple=True, help="Events to validate with (repeatable)."
)
@click.option("--preset", type=click.Choice(_PRESETS), default="rotary", show_default=True)
@click.option("--init", metavar="MODEL", help="Start from the weights of this model (stage 2).")
@click.option(
    "--scaling",
    type=click.Choice(["recompute", "keep"]),
    default="recompute",
    show_default=True,
    help="With --init: measure the scaling on the new events, or keep the model's.",
)
@click.option("--epochs", type=click.IntRange(1), help="Passes over the events.")
@click.option("--steps", type=click.IntRange(1), help="Optimiser steps, instead of --epochs.")
@click.option("--batch", type=click.IntRange(1), help="Events per step and process.")
@click.option("--optimiser", type=click.Choice(["lion", "adamw"]))
@click.option("--rate", type=float, help="Peak learning rate.")
@click.option("--betas", type=(float, float), help="Momenta of the optimiser.")
@click.option("--weight-decay", type=float, help="Decoupled, relative to the rate.")
@click.option("--warmup-epochs", type=float, help="Epochs of linearly rising rate.")
@click.option("--clip", type=float, help="Largest norm of the gradient.")
@click.option("--ema", type=float, help="Decay of the average of the weights.")
@click.option(
    "--psi-loss", "psi_weight", metavar="WEIGHT", type=float, help="Weight of the loss L_psi."
)
@click.option(
    "--sums-loss", "sums_weight", metavar="WEIGHT", type=float, help="Weight of the loss on sums."
)
@click.option(
    "--calibration-events", type=click.IntRange(0), help="Events to set the spectra right with."
)
@click.option("--slice-harmonics", metavar="N,PT", type=_Numbers(), help="Sums in slices of eta.")
@click.option(
    "--branch",
    type=click.Choice(["both", "event", "particles", "hard", "vectors", "whole"]),
    help="What is trained.",
)
@click.option("--event-times", type=click.IntRange(1), help="Times of an event vector in a step.")
@click.option(
    "--symmetries/--no-symmetries", default=None, help="Turn and mirror events at random."
)
@click.option("--precision", type=click.Choice(["float32", "bf16"]))
@click.option(
    "--net", "network", type=_Setting(), multiple=True, help="Size of the network (repeatable)."
)
@click.option(
    "--log", "log_columns", metavar="COLUMN", multiple=True, help="Learn it as its logarithm."
)
@click.option("--validation-fraction", type=float, help="Set aside without --validation.")
@click.option("--validation-events", type=click.IntRange(1), help="But at most so many.")
@click.option("--epoch-steps", type=click.IntRange(1), help="Steps of an epoch of a stream.")
@click.option("--scaling-events", type=click.IntRange(1), help="Read first from a stream.")
@click.option("--processes", type=click.IntRange(1), default=1, show_default=True)
@click.option("--budget", metavar="PARTICLES", type=click.IntRange(1), help="Per network pass.")
@click.option("--memory-gb", type=float, help="Events beyond this stay on disk.")
@click.option("--save-seconds", type=float, help="Time between two writings of the state.")
@click.option("--compile", "compile_", is_flag=True, help="Use torch.compile.")
@click.option("--plot", metavar="FILE", type=click.Path(path_type=Path), help="Loss curves.")
@seed_option
@provenance_option
@quiet_option
def main(
    inputs: tuple[str, ...],
    output: str,
    validation: tuple[str, ...],
    preset: str,
    init: str | None,
    scaling: str,
    processes: int,
    plot: Path | None,
    seed: int,
    no_provenance: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Train a model on event files, or on the stream of standard input.

    The same command again continues a run that was interrupted. Every number of the preset can be
    set; config.json in the model's folder records them all.
    """
    from hitools.cmd.launching import is_worker, launch, process_of_many

    with process_of_many():
        if plot is not None:
            from hitools.core.plot.style import check_figure_path

            check_figure_path(plot)
        sizes = _sizes(given.pop("network"))
        options = _options(preset, seed, given, {} if init else sizes)
        if processes > 1 and not is_worker():
            launch("hitools.cmd.train", processes)
        start = _start(init, scaling, sizes, given["slice_harmonics"])
        _train(options, inputs, validation, output, start, plot, no_provenance, quiet)


def _sizes(settings: tuple[tuple[str, float], ...]) -> dict[str, float]:
    return {
        name: int(number) if float(number).is_integer() else number for name, number in settings
    }


def _start(
    init: str | None, scaling: Any, sizes: dict[str, float], slices: tuple[int, ...] | None
) -> "Start":
    from hitools.core.model.shipped import find_model
    from hitools.core.training.start import Start

    return Start(find_model(init), scaling, sizes, slices or ()) if init else Start()


def _options(
    preset: str, seed: int, given: dict[str, Any], sizes: dict[str, float]
) -> "TrainingOptions":
    """The preset with what was given on the command line."""
    from dataclasses import asdict, replace

    from hitools.core.training.options import PRESETS

    options = PRESETS[preset]
    changes = {name: value for name, value in given.items() if value is not None and value != ()}
    if "compile_" in changes:
        changes["compile"] = changes.pop("compile_")
    if sizes:
        network = asdict(options.network) | sizes
        changes["network"] = type(options.network).from_dict(network)
    if "epochs" in changes and "steps" not in changes:
        changes["steps"] = None
    return replace(options, seed=seed, **changes)


def _train(
    options: "TrainingOptions",
    inputs: tuple[str, ...],
    validation: tuple[str, ...],
    output: str,
    start: "Start",
    plot: Path | None,
    no_provenance: bool,
    quiet: bool,
) -> None:
    from hitools.core.model.folder import ModelFolder
    from hitools.core.training.start import prepared

    folder = ModelFolder(output)
    lineage = Lineage(seed=options.seed, keep=not no_provenance)
    with ExitStack() as stack:
        sources = _sources(inputs, validation, stack, quiet=quiet)
        run = stack.enter_context(prepared(options, sources, start, folder.path, lineage.stamp))
        quiet = quiet or not run.is_main
        say(_begin(run, output), quiet=quiet)
        with _bar(run, quiet=quiet) as report:
            run.trainer.run(report)
        if run.is_main:
            _calibrate(run, folder, quiet=quiet)
        epochs = folder.read_metrics() if run.is_main else []
    if epochs:
        best = min(epochs, key=lambda line: line["validation"]["total"])
        say(
            f"{output}: best validation loss {best['validation']['total']:.4f} "
            f"in epoch {best['epoch']} of {len(epochs)}",
            quiet=quiet,
        )
    if epochs and plot is not None:
        from hitools.core.plot.losses import loss_figure
        from hitools.core.plot.style import save_figure

        save_figure(loss_figure(epochs), plot)


def _calibrate(run: "Prepared", folder: "ModelFolder", *, quiet: bool) -> None:
    """Set the spectra right, unless it was done or there are too few events to know them."""
    import torch

    from hitools.core.training.calibration import calibrate, is_due

    n_events = len(run.calibration)
    if not n_events or not is_due(folder, n_events, trained=run.first_step < run.total_steps):
        return
    say(f"generating {n_events:,} events to set the spectra of pT and eta right", quiet=quiet)
    calibrate(
        folder,
        run.calibration,
        torch.device("cuda" if torch.cuda.is_available() else "cpu"),
        lambda batches: tracked(batches, n_events, "generating", quiet=quiet),
    )


def _sources(
    inputs: tuple[str, ...], validation: tuple[str, ...], stack: ExitStack, *, quiet: bool
) -> "Sources":
    from hitools.core.errors import InputError
    from hitools.core.format.concatenation import Concatenation
    from hitools.core.training.start import Sources

    training = stack.enter_context(Concatenation(inputs))
    is_stream = inputs == ("-",)
    if is_stream and validation:
        raise InputError("--validation: a stream validates with its own first events")
    held_out = stack.enter_context(Concatenation(validation)) if validation else None
    read = training if is_stream else tracked(training, training.n_events, "reading", quiet=quiet)
    return Sources(read, held_out, is_stream, lambda: training.meta)


def _begin(run: "Prepared", output: str) -> str:
    what = (
        "a stream of events"
        if run.data["stream"]
        else f"{run.data['n_train']:,} events, {run.data['n_particles']:,} particles"
    )
    where = f"going on after step {run.first_step:,}" if run.first_step else "from the start"
    if run.first_step >= run.total_steps:
        return f"{output}: this training is complete ({run.total_steps:,} steps)"
    return (
        f"{run.n_weights:,} weights, {what}, {run.data['n_validation']:,} to validate with, "
        f"{run.total_steps:,} steps ({run.steps_per_epoch:,} an epoch), {run.device}, {where}"
    )


@contextmanager
def _bar(run: "Prepared", *, quiet: bool) -> Iterator[Callable[["Report"], None]]:
    """Progress with loss, speed and time left; without a terminal, a line per epoch."""
    start, first = time.monotonic(), run.first_step

    def line(report: "Report") -> str:
        metrics = report.line or {}
        validation = metrics["validation"]["total"]
        left = (time.monotonic() - start) / (report.step - first) * (run.total_steps - report.step)
        return (
            f"epoch {metrics['epoch']}, step {report.step:,}: training {report.loss:.4f}, "
            f"validation {validation:.4f}{' (best)' if metrics['best'] else ''}, "
            f"{report.events_per_s:.3g} events/s, {metrics['waiting_fraction']:.1%} waiting, "
            f"{_clock(left)} left"
        )

    if quiet:
        yield lambda report: None  # noqa: ARG005
        return
    if not sys.stderr.isatty():
        yield lambda report: say(line(report)) if report.line else None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}  {task.fields[speed]:.3g} events/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("steps", total=run.total_steps, completed=first, loss=0.0, speed=0.0)

        def show(report: "Report") -> None:
            bar.update(task, completed=report.step, loss=report.loss, speed=report.events_per_s)
            if report.line:
                console.print(line(report), highlight=False)

        yield show


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


if __name__ == "__main__":
    sys.argv[0] = "hi-train"
    main()
