"""hi-report: all validations of a sample in one pass, as a page, figures and numbers."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hitools import __version__
from hitools.cmd.common import progress, seed_option, workers_option
from hitools.cmd.validation import Inputs, Reporting, report, validation_command

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hitools.core.batch import EventBatch
    from hitools.core.report.checks import ReportOptions, Section
    from hitools.core.report.page import InputSummary
    from hitools.core.report.verdicts import GateOutcome, Row

_CHECKS = ("w1", "qclosure", "flow", "closure", "classify", "jets")


@validation_command("hi-report", figure=False, shown_inputs="REFERENCE SAMPLE")
@click.option(
    "-o",
    "--output",
    "folder",
    metavar="FOLDER",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("report"),
    show_default=True,
    help="Folder for report.html, report.json and the figures.",
)
@click.option(
    "--gates",
    "gates_file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Gates in a TOML file: require = ['NAME<VALUE', ...].",
)
@click.option(
    "--skip",
    "skipped",
    type=click.Choice(_CHECKS),
    multiple=True,
    help="Leave a check out; repeatable.",
)
@click.option(
    "--classifier",
    "classifiers",
    type=click.Choice(("event", "deepsets", "transformer")),
    multiple=True,
    default=("event", "deepsets"),
    show_default=True,
    help="See hi-classify; repeatable.",
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
    help="Events of each input for the classifiers, at most.",
)
@click.option(
    "--device",
    type=click.Choice(("auto", "cpu", "cuda")),
    default="auto",
    show_default=True,
    help="Where to train classifiers.",
)
@workers_option
@seed_option
def main(
    inputs: tuple[str, ...],
    reporting: Reporting,
    folder: Path,
    gates_file: Path | None,
    skipped: tuple[str, ...],
    classifiers: tuple[str, ...],
    seeds: int,
    max_events: int,
    device: str,
    workers: int,
    seed: int,
) -> None:
    """Run every validation of SAMPLE against REFERENCE and write a report.

    Both inputs are read once. The first table of the page has the key numbers with error, floor,
    the paper's value and a verdict.
    """
    from hitools.core.files import filling
    from hitools.core.report.checks import ReportOptions
    from hitools.core.report.folder import write_folder
    from hitools.core.report.page import page
    from hitools.core.report.verdicts import key_rows, outcomes, read_gates

    if len(inputs) != 2:
        raise click.UsageError("two inputs: REFERENCE SAMPLE")
    if gates_file is not None:
        reporting = replace(reporting, gates=(*reporting.gates, *read_gates(gates_file)))
    options = ReportOptions(
        checks=tuple(name for name in _CHECKS if name not in skipped),
        classifiers=tuple(dict.fromkeys(classifiers)),
        n_seeds=seeds,
        max_events=max_events,
        device=device,
        workers=workers,
        seed=seed,
    )
    with filling(folder):
        summaries, sections = _examine(inputs, reporting, options)
        quantities = [quantity for section in sections for quantity in section.quantities]
        judged = outcomes(reporting.gates, quantities)
        rows = key_rows(quantities, judged, summaries[0].meta.system)
        html = page(summaries, rows, judged, sections, f"hi-report {__version__}")
        write_folder(folder, html, sections)
    shared: dict[str, Any] = {
        "remarks": [remark for section in sections for remark in section.remarks],
        "details": _details(rows, judged, sections),
    }
    whole = Reporting(str(folder / "report.json"), None, (), passing=False, quiet=True)
    report(quantities, whole, inputs, **shared)
    if not reporting.quiet and reporting.json_file != "-":
        _print_rows(rows, folder, to_stderr=reporting.passing)
    report(quantities, replace(reporting, quiet=True), inputs, **shared)


def _examine(
    inputs: tuple[str, ...], reporting: Reporting, options: "ReportOptions"
) -> tuple[list["InputSummary"], list["Section"]]:
    """Read both inputs once and run all checks."""
    from itertools import chain

    from hitools.core.errors import InputError
    from hitools.core.observables.jets.definition import JetDefinition
    from hitools.core.report.checks import Checks
    from hitools.core.report.page import InputSummary

    source = Inputs(inputs, reporting)
    checks: Checks | None = None
    summaries = []
    for which, role in enumerate(("reference", "sample")):
        shown = "standard input" if inputs[which] == "-" else inputs[which]
        counts = [0, 0]
        batches = _counted(source.batches(which), counts)
        first = next(batches, None)
        if first is None:
            raise InputError(f"{shown}: no events")
        if checks is None:
            selection = source.meta(which).selection
            checks = Checks(options, selection.eta_max if selection else JetDefinition.eta_max)
        add = (checks.add_reference, checks.add_sample)[which]
        add(chain([first], batches))
        if not counts[1]:
            raise InputError(f"{shown}: no particles in any event")
        summaries.append(
            InputSummary(role, inputs[which], counts[0], counts[1], source.meta(which))
        )
    assert checks is not None
    checks.require((inputs[0], inputs[1]))
    with progress("training", checks.n_trainings() or None, quiet=reporting.quiet) as advance:
        return summaries, list(checks.sections(advance))


def _counted(batches: "Iterable[EventBatch]", counts: list[int]) -> "Iterator[EventBatch]":
    """The same batches; counts becomes the number of events and of particles so far."""
    for batch in batches:
        counts[0] += len(batch)
        counts[1] += len(batch.particles)
        yield batch


def _details(
    rows: "Sequence[Row]", judged: "Sequence[GateOutcome]", sections: "Sequence[Section]"
) -> dict[str, Any]:
    return {
        "summary": [row.as_dict() for row in rows],
        "gates": [{"gate": str(outcome.gate), "holds": outcome.holds} for outcome in judged],
        "sections": {section.name: section.details for section in sections},
    }


def _print_rows(rows: "Sequence[Row]", folder: Path, *, to_stderr: bool) -> None:
    """The first table of the page, for the terminal."""
    import sys

    from rich.table import Table

    from hitools.cmd.common import console
    from hitools.core.report.page import number, with_error

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("quantity", "value", "floor", "paper", "verdict"):
        table.add_column(title, justify="right" if title in ("value", "floor", "paper") else "left")
    for row in rows:
        q = row.quantity
        paper = "" if row.paper is None else number(row.paper)
        table.add_row(q.name, with_error(q.value, q.error), number(q.floor), paper, row.verdict)
    out = console(sys.stderr if to_stderr else sys.stdout)
    out.print(table)
    out.print(f"{folder / 'report.html'}", highlight=False)
