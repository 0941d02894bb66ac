"""What every validation command shares: its inputs, and how its result leaves.

A command reads one input (its own closure) or REFERENCE SAMPLE, and returns a list of Quantity;
here they become a table, JSON, a figure's file and an exit status.
"""

import functools
import json
import math
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hitools import __version__
from hitools.cmd.common import EXIT_GATE_FAILED, Command, Lineage, command
from hitools.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hitools.core.batch import EventBatch
    from hitools.core.compare.quantity import Gate, Quantity
    from hitools.core.format.meta import EventMeta

_STANDARD_OUTPUT = "-"


@dataclass(frozen=True)
class Reporting:
    """Where a result goes, from the options of the command line.

    Attributes:
        json_file: "-" for standard output, a path, or None for a table instead.
        plot: figure file, or None.
        gates: conditions; a failed one is exit status 1.
        passing: the input's events go to standard output, the table to stderr.
        quiet: no progress, no table.
    """

    json_file: str | None
    plot: Path | None
    gates: tuple["Gate", ...]
    passing: bool
    quiet: bool


class _ValidationCommand(Command):
    """Reads `--json` with or without a file name behind it, never taking an input for one.

    A word behind --json is its file only if it ends in .json; any other file can be given as
    --json=FILE. Otherwise `hi-w1 --json ref.h5 gen.h5` would write over ref.h5.
    """

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Spell out the value of --json."""
        spelled: list[str] = []
        for i, word in enumerate(args):
            follows = args[i + 1] if i + 1 < len(args) else ""
            if word == "--json" and not follows.endswith(".json"):
                spelled.append("--json=-")
            else:
                spelled.append(word)
        return super().parse_args(context, spelled)


def _checked_plot(
    context: click.Context,  # noqa: ARG001
    parameter: click.Parameter,  # noqa: ARG001
    value: Path | None,
) -> Path | None:
    if value is not None and value.suffix not in (".pdf", ".png", ".svg"):
        raise click.BadParameter(f"{value}: expected a name that ends in .pdf, .png or .svg")
    return value


_plot_option = click.option(
    "--plot",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=_checked_plot,
    help="Draw the figure (.pdf, .png, .svg).",
)


def validation_command(
    name: str, *, figure: bool = True, shown_inputs: str = "[REFERENCE] SAMPLE", **settings: Any
) -> Callable[[Callable[..., Any]], Command]:
    """Make a function a validation command.

    The function is called with `inputs` (a tuple of one or two names), `reporting` and its own
    options, and ends with `report(...)`.

    Args:
        name: of the command.
        figure: whether it has one figure, and with it the option --plot.
        shown_inputs: as the help shows them.
        settings: of the click command.
    """

    def decorate(function: Callable[..., Any]) -> Command:
        @functools.wraps(function)
        def run(
            json_file: str | None,
            require: tuple[str, ...],
            passing: bool,
            quiet: bool,
            inputs: tuple[str, ...],
            plot: Path | None = None,
            **options: Any,
        ) -> Any:
            from hitools.core.compare.quantity import Gate

            if passing and json_file == _STANDARD_OUTPUT:
                raise click.UsageError("--pass uses standard output: give --json a file name")
            if json_file not in (None, _STANDARD_OUTPUT):
                folder = Path(json_file).absolute().parent
                if not folder.is_dir():
                    raise InputError(f"--json {json_file}: the folder {folder} does not exist")
            gates = tuple(Gate.parse(text) for text in require)
            reporting = Reporting(json_file, plot, gates, passing, quiet)
            return function(inputs=_checked(inputs), reporting=reporting, **options)

        for decorator in (
            click.option("-q", "--quiet", is_flag=True, help="No progress and no table."),
            click.option(
                "--pass",
                "passing",
                is_flag=True,
                help="Write the (last) input's events on to standard output, unchanged.",
            ),
            click.option(
                "--require",
                metavar="'NAME<VALUE'",
                multiple=True,
                help="Exit with status 1 unless this holds (also <=, >, >=); repeatable.",
            ),
            *([_plot_option] if figure else []),
            click.option(
                "--json",
                "json_file",
                metavar="[FILE.json]",
                help="The numbers as one JSON object, on standard output or in a file.",
            ),
            click.argument("inputs", metavar=shown_inputs, nargs=-1),
        ):
            run = decorator(run)
        return command(name, cls=_ValidationCommand, **settings)(run)

    return decorate


def _checked(inputs: tuple[str, ...]) -> tuple[str, ...]:
    if not inputs:
        if sys.stdin.isatty():
            raise click.UsageError("name an input file, or pipe events in")
        return ("-",)
    if len(inputs) > 2:
        raise click.UsageError(f"one or two inputs, not {len(inputs)}: [REFERENCE] SAMPLE")
    if inputs == ("-", "-"):
        raise click.UsageError("only one of REFERENCE and SAMPLE can be standard input")
    return inputs


class Inputs:
    """Opens the inputs of a validation command and, with --pass, sends the last one on."""

    def __init__(self, names: Sequence[str], reporting: Reporting) -> None:
        """Names are one or two paths or "-"."""
        self._names = names
        self._reporting = reporting
        self._metas: dict[int, EventMeta] = {}

    def batches(self, which: int) -> "Iterator[EventBatch]":
        """The events of input 0 or 1 (-1 is the last), with progress."""
        from hitools.cmd.common import tracked
        from hitools.core.format.reader import open_events
        from hitools.core.format.writer import open_writer

        name = self._names[which]
        is_last = which in (-1, len(self._names) - 1)
        with ExitStack() as stack:
            reader = stack.enter_context(open_events(name))
            out = None
            if self._reporting.passing and is_last:
                lineage = Lineage()
                out = stack.enter_context(open_writer("-", lineage.stamp(reader.meta)))
            self._metas[which % len(self._names)] = reader.meta
            for batch in tracked(
                reader, reader.n_events, f"reading {reader.name}", quiet=self._reporting.quiet
            ):
                if out is not None:
                    out.meta = lineage.stamp(reader.meta)
                    out.write(batch)
                yield batch
            self._metas[which % len(self._names)] = reader.meta

    def meta(self, which: int) -> "EventMeta":
        """Attributes of input 0 or 1 (-1 is the last): of its first image, then of all of it.

        Known once its first events have come.
        """
        return self._metas[which % len(self._names)]


def report(
    quantities: "Sequence[Quantity]",
    reporting: Reporting,
    inputs: Sequence[str],
    *,
    remarks: Sequence[str] = (),
    details: dict[str, Any] | None = None,
) -> None:
    """Write table or JSON, then end with status 1 if a gate fails.

    Args:
        quantities: the result.
        reporting: from the command line.
        inputs: names as given.
        remarks: sentences under the table (and in the JSON object as "remarks").
        details: more for the JSON object: binning, curves; keys beside "quantities".
    """
    if reporting.json_file is not None:
        _write_json(quantities, reporting.json_file, inputs, remarks, details or {})
    if not reporting.quiet and (reporting.json_file != _STANDARD_OUTPUT):
        _print_table(quantities, remarks, to_stderr=reporting.passing)
    failed = [gate for gate in reporting.gates if not gate.holds(quantities)]
    values = {quantity.name: quantity.value for quantity in quantities}
    for gate in failed:
        program = click.get_current_context().info_name
        print(f"{program}: gate failed: {gate} (value {values[gate.name]:.6g})", file=sys.stderr)
    if failed:
        raise click.exceptions.Exit(EXIT_GATE_FAILED)


def _write_json(
    quantities: "Sequence[Quantity]",
    target: str,
    inputs: Sequence[str],
    remarks: Sequence[str],
    details: dict[str, Any],
) -> None:
    from hitools.core.compare.quantity import known_to_json
    from hitools.core.files import write_text

    result = {
        "command": click.get_current_context().info_name,
        "version": __version__,
        "inputs": list(inputs),
        "quantities": [quantity.as_dict() for quantity in quantities],
        "remarks": list(remarks),
        **known_to_json(details),
    }
    text = json.dumps(result, indent=2, allow_nan=False) + "\n"
    if target == _STANDARD_OUTPUT:
        sys.stdout.write(text)
    else:
        write_text(Path(target), text)


def _print_table(
    quantities: "Sequence[Quantity]", remarks: Sequence[str], *, to_stderr: bool
) -> None:
    from rich.table import Table

    from hitools.cmd.common import console

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("quantity", "value", "error", "floor", "unit"):
        table.add_column(title, justify="left" if title in ("quantity", "unit") else "right")
    for quantity in quantities:
        numbers = (quantity.value, quantity.error, quantity.floor)
        table.add_row(
            quantity.name, *("-" if math.isnan(x) else f"{x:.4g}" for x in numbers), quantity.unit
        )
    out = console(sys.stderr if to_stderr else sys.stdout)
    out.print(table)
    for remark in remarks:
        out.print(remark)
