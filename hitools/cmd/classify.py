"""hi-classify: can a trained classifier tell the sample from the reference?"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hitools.cmd.common import progress, seed_option
from hitools.cmd.feeding import feed
from hitools.cmd.validation import Reporting, report, validation_command

if TYPE_CHECKING:
    from hitools.core.compare.classify.two_sample import ClassifyResult
    from hitools.core.format.meta import EventMeta

_STANDARD_OUTPUT = "-"
_NAMES = ("event", "deepsets", "transformer")


@validation_command("hi-classify")
@click.option(
    "--classifier",
    "classifiers",
    type=click.Choice(_NAMES),
    multiple=True,
    default=("event", "deepsets"),
    show_default=True,
    help="Which classifier; repeatable.",
)
@click.option(
    "--seeds",
    metavar="N",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Trainings of each classifier.",
)
@click.option(
    "--max-events",
    metavar="N",
    type=click.IntRange(200),
    default=20_000,
    show_default=True,
    help="Use at most so many events of each input, a random choice.",
)
@click.option(
    "--with-event-vector",
    is_flag=True,
    help="Show particle-level classifiers the stored event vector too.",
)
@click.option(
    "--attended",
    metavar="N",
    type=click.IntRange(1),
    default=1024,
    show_default=True,
    help="The transformer sees at most so many particles an event, a random choice.",
)
@click.option(
    "--worst",
    metavar="N FILE",
    type=(click.IntRange(1), str),
    help="Write the N events of SAMPLE that look least like the reference; - is standard output.",
)
@click.option(
    "--device",
    type=click.Choice(("auto", "cpu", "cuda")),
    default="auto",
    show_default=True,
    help="Where to train; auto takes a GPU where there is one.",
)
@seed_option
def main(
    inputs: tuple[str, ...],
    reporting: Reporting,
    classifiers: tuple[str, ...],
    seeds: int,
    max_events: int,
    with_event_vector: bool,
    attended: int,
    worst: tuple[int, str] | None,
    device: str,
    seed: int,
) -> None:
    """Train classifiers to tell SAMPLE from REFERENCE.

    An AUC of 0.5 is chance. With one input, two halves of it are told apart.
    """
    from hitools.core.compare.classify.training import TrainingOptions
    from hitools.core.compare.classify.two_sample import ClassifyAccumulator, ClassifyOptions

    if worst is not None:
        _check_worst(inputs, reporting, worst[1])
    options = ClassifyOptions(
        classifiers=tuple(dict.fromkeys(classifiers)),
        n_seeds=seeds,
        max_events=max_events,
        seed=seed,
        attended=attended,
        training=TrainingOptions(with_event_vector=with_event_vector, device=device),
    )
    test = ClassifyAccumulator(options)
    source = feed(test, inputs, reporting, alone_is_reference=True)
    test.check(inputs)
    with progress("training", test.n_trainings(), quiet=reporting.quiet) as advance:
        result = test.result(advance)
    remarks = _remarks(result, inputs, test.n_events)
    if worst is not None:
        remarks.append(_write_worst(result, *worst, source.meta(1), seed))
        # Events on standard output: the table goes to standard error, as with --pass.
        reporting = replace(reporting, passing=reporting.passing or worst[1] == _STANDARD_OUTPUT)
    if reporting.plot is not None:
        from hitools.core.plot.classify import classify_figure
        from hitools.core.plot.style import save_figure

        names = ("reference", "sample") if len(inputs) == 2 else ("one half", "other half")
        save_figure(classify_figure(result, names), reporting.plot)
    report(result.quantities(), reporting, inputs, remarks=remarks, details=result.details())


def _check_worst(inputs: tuple[str, ...], reporting: Reporting, target: str) -> None:
    if len(inputs) != 2:
        raise click.UsageError("--worst needs REFERENCE and SAMPLE")
    if target == _STANDARD_OUTPUT and reporting.passing:
        raise click.UsageError("--pass uses standard output: give --worst a file name")
    if target == _STANDARD_OUTPUT and reporting.json_file == _STANDARD_OUTPUT:
        raise click.UsageError("--worst N - uses standard output: give --json a file name")
    if target == _STANDARD_OUTPUT and sys.stdout.isatty():
        raise click.UsageError(
            "--worst N -: standard output is a terminal, and events are binary: name a file"
        )
    if target != _STANDARD_OUTPUT and Path(target).is_dir():
        raise click.UsageError(f"--worst: {target} is a folder, expected a file name")
    if target != _STANDARD_OUTPUT and not Path(target).absolute().parent.is_dir():
        raise click.UsageError(f"--worst: the folder of {target} does not exist")


def _write_worst(
    result: "ClassifyResult", n: int, target: str, meta: "EventMeta", seed: int
) -> str:
    """Write the file; a sentence on what it holds."""
    from hitools.cmd.common import Lineage
    from hitools.core.format.writer import open_writer

    events, judge = result.worst(n)
    with open_writer(target, Lineage(seed=seed).stamp(meta)) as out:
        out.write(events)
    return f"worst: {len(events)} events, worst first, by the {judge.name} classifier"


def _remarks(
    result: "ClassifyResult", inputs: tuple[str, ...], n_events: tuple[int, int]
) -> list[str]:
    """How many events took part, and what the reader should know of them."""
    remarks = []
    if len(inputs) == 2:
        used = zip(result.n_used, n_events, ("reference", "sample"), strict=True)
        counts = ", ".join(f"{n} of {of} {name} events" for n, of, name in used)
        remarks.append(
            f"used: {counts}; floor: two halves of the reference, "
            f"{result.n_floor[0]} and {result.n_floor[1]} events"
        )
    else:
        remarks.append(
            f"two halves of {inputs[0]}: {result.n_used[0]} and {result.n_used[1]} events"
        )
    for name, count in zip(inputs, result.n_repeated, strict=False):
        if count:
            remarks.append(f"{name}: {count} events occur more than once")
    return remarks
