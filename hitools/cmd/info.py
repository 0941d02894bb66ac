"""hi-info: what is in an event or jet file or stream, where it came from, and is it sound."""

from typing import TYPE_CHECKING, Any

import click

from hitools.cmd.common import command, console, quiet_option, tracked

if TYPE_CHECKING:
    from rich.console import Console

    from hitools.core.format.images import ImageSource
    from hitools.core.format.meta import EventMeta
    from hitools.core.format.provenance import Chain
    from hitools.core.model.folder import ModelFolder
    from hitools.core.summary import ColumnSummary, Summary


def _one_input(
    context: click.Context,  # noqa: ARG001
    parameter: click.Parameter,  # noqa: ARG001
    value: str | None,
) -> str:
    import sys

    if value is None and sys.stdin.isatty():
        raise click.UsageError("name an input file, or pipe events in")
    return value or "-"


@command("hi-info")
@click.argument("source", metavar="[INPUT]", required=False, callback=_one_input)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the table.")
@click.option(
    "--check",
    is_flag=True,
    help="Read every byte and recompute every derived column; status 1 where one differs.",
)
@quiet_option
def main(source: str, as_json: bool, check: bool, quiet: bool) -> None:
    """Describe an event or jet file or stream, or a trained model.

    Counts, system and selection, weights, range and quantiles of every column, and the commands
    that made it. Of a model (its folder or its name): events that it learnt from, size, solver.
    """
    if (model := _model(source)) is not None:
        if check:
            raise click.UsageError("--check is for events, not for models")
        _describe_model(model, source, as_json=as_json)
        return
    from hitools.core.format.images import ImageSource
    from hitools.core.format.jetfile import is_jet_image
    from hitools.core.format.reader import MAX_PARTICLES, EventReader

    images = ImageSource(source)
    try:
        if is_jet_image(images.first, images.name):
            _jets(images, source, as_json=as_json, check=check, quiet=quiet)
            return
        reader = EventReader(images, MAX_PARTICLES, None, check_padding=check)
        problems = _read(reader, check=check, quiet=quiet)
    finally:
        images.close()
    summary, mismatches = problems
    if as_json:
        _print_json(_as_dict(source, reader.meta, summary, mismatches if check else None))
    else:
        _print_events(reader, summary, mismatches if check else None)
    if mismatches:
        raise click.exceptions.Exit(1)


def _model(source: str) -> "ModelFolder | None":
    """The model that the input names, where it is no file or stream."""
    from pathlib import Path

    if source == "-" or (Path(source).exists() and not Path(source).is_dir()):
        return None
    from hitools.core.model.shipped import find_model, named_models

    return find_model(source) if Path(source).is_dir() or source in named_models() else None


def _describe_model(folder: "ModelFolder", source: str, *, as_json: bool) -> None:
    from hitools.cmd.models import as_dict, print_model
    from hitools.core.model.shipped import summarise

    summary = summarise(folder)
    if as_json:
        _print_json(_origin(source, summary.meta) | as_dict(summary))
        return
    out = console()
    _print_origin(out, source, summary.meta)
    print_model(out, summary)
    if summary.meta.provenance:
        out.print("\nprovenance")
        _print_chain(out, summary.meta.provenance)


def _read(reader: Any, *, check: bool, quiet: bool) -> tuple["Summary", list[str]]:
    """The summary, and with check a sentence per column that disagrees with the particles."""
    from hitools.core.format.consistency import mismatches
    from hitools.core.summary import SummaryAccumulator

    summary = SummaryAccumulator()
    found: dict[str, str] = {}
    first = 0
    for batch in tracked(reader, reader.n_events, "reading", quiet=quiet):
        summary.add(batch)
        if check:
            for mismatch in mismatches(batch, reader.meta.event_vectors):
                found.setdefault(mismatch.column, f"event {first + mismatch.event}: {mismatch}")
        first += len(batch)
    return summary.result(), list(found.values())


def _jets(images: "ImageSource", source: str, *, as_json: bool, check: bool, quiet: bool) -> None:
    """Describe a jet file; reading it all checks its rows against each other."""
    from hitools.core.format.jetfile import JetReader
    from hitools.core.observables.jets.overview import JetOverviewAccumulator

    reader = JetReader(images)
    accumulator = JetOverviewAccumulator()
    for batch in tracked(reader, reader.n_events, "reading", quiet=quiet):
        accumulator.add(batch)
    overview = accumulator.result()
    definition, meta = reader.meta.definition, reader.meta.events
    if as_json:
        result = {
            **_origin(source, meta),
            "n_events": overview.n_events,
            "n_jets": overview.n_jets,
            "sum_weights": overview.sum_weights,
            "effective_events": overview.effective_events,
            "definition": definition.as_dict(),
            "events": [_column(entry) for entry in overview.events],
            "jets": [_column(entry) for entry in overview.jets],
        }
        _print_json(result | ({"check": {"good": True, "mismatches": []}} if check else {}))
        return
    out = console()
    _print_origin(out, reader.name, meta)
    out.print(f"  n_events       {overview.n_events}")
    out.print(f"  n_jets         {overview.n_jets}")
    out.print(f"  {definition.sentence()}")
    for title, columns in (("event column", overview.events), ("jet column", overview.jets)):
        out.print()
        _print_columns(out, title, columns)
    if meta.provenance:
        out.print("\nprovenance")
        _print_chain(out, meta.provenance)
    if check:
        out.print("\ncheck: good: jets and events belong together")


def _as_dict(
    source: str, meta: "EventMeta", summary: "Summary", mismatches: list[str] | None
) -> dict[str, Any]:
    result: dict[str, Any] = {
        **_origin(source, meta),
        "n_events": summary.n_events,
        "n_particles": summary.n_particles,
        "weighted": summary.weighted,
        "sum_weights": summary.sum_weights,
        "effective_events": summary.effective_events,
        "events": [_column(entry) for entry in summary.events],
        "particles": [_column(entry) for entry in summary.particles],
    }
    if mismatches is not None:
        result["check"] = {"good": not mismatches, "mismatches": mismatches}
    return result


def _origin(source: str, meta: "EventMeta") -> dict[str, Any]:
    """What JSON says of the events as a whole."""
    import dataclasses
    import json as json_module

    from hitools import __version__
    from hitools.core.format import provenance

    return {
        "command": "hi-info",
        "version": __version__,
        "inputs": [source],
        "system": meta.system,
        "sqrt_s_nn_gev": _finite(meta.sqrt_s_nn_gev),
        "selection": None if meta.selection is None else dataclasses.asdict(meta.selection),
        "event_vectors": meta.event_vectors,
        "provenance": json_module.loads(provenance.to_json(meta.provenance)),
    }


def _finite(value: float) -> float | None:
    import math

    return value if math.isfinite(value) else None


def _column(entry: "ColumnSummary") -> dict[str, Any]:
    from hitools.core.summary import QUANTILES

    quantiles = zip(QUANTILES, entry.quantiles, strict=True)
    return {
        "name": entry.name,
        "unit": entry.unit,
        "min": _finite(entry.minimum),
        "max": _finite(entry.maximum),
        "mean": _finite(entry.mean),
        "std": _finite(entry.std),
        "quantiles": {f"{q:g}": _finite(x) for q, x in quantiles},
    }


def _print_json(result: dict[str, Any]) -> None:
    import json as json_module

    print(json_module.dumps(result, indent=2, allow_nan=False))


def _print_events(reader: Any, summary: "Summary", mismatches: list[str] | None) -> None:
    meta = reader.meta
    out = console()
    vectors = {
        "particles": "follow from the particles",
        "generated": "generated by a model, not computed from the particles",
    }
    _print_origin(out, reader.name, meta)
    out.print(f"  n_events       {summary.n_events}")
    out.print(f"  n_particles    {summary.n_particles}")
    out.print(f"  event vectors  {vectors[meta.event_vectors]}")
    if summary.weighted and summary.n_events:
        low, high = summary.weight_range
        share = summary.effective_events / summary.n_events
        out.print(
            f"  weights        {low:.4g} to {high:.4g}, effective sample size "
            f"{summary.effective_events:.0f} ({share:.1%})"
        )
    else:
        out.print("  weights        none")
    out.print()
    _print_columns(out, "event column", summary.events)
    out.print()
    _print_columns(out, "particle column", summary.particles)
    if meta.provenance:
        out.print("\nprovenance")
        _print_chain(out, meta.provenance)
    if mismatches is not None:
        out.print()
        for sentence in mismatches:
            out.print(f"check: {sentence}")
        if not mismatches:
            checked = "every column follows from the particles"
            if meta.event_vectors == "generated":
                checked = "particles are sound; event vectors are a model's own (see hi-qclosure)"
            out.print(f"check: good: {checked}")


def _print_origin(out: "Console", name: str, meta: "EventMeta") -> None:
    energy = f", sqrt(s_NN) = {meta.sqrt_s_nn_gev:g} GeV" if meta.sqrt_s_nn_gev > 0 else ""
    out.print(f"{name}")
    out.print(f"  system         {meta.system or 'unknown'}{energy}")
    out.print(f"  selection      {meta.selection or 'unknown'}")


def _print_columns(out: "Console", title: str, columns: tuple["ColumnSummary", ...]) -> None:
    from rich.table import Table

    from hitools.core.summary import QUANTILES

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(title, no_wrap=True)
    table.add_column("unit", no_wrap=True)
    names = ["min", *(f"{q:.0%}" for q in QUANTILES), "max", "mean", "std"]
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for entry in columns:
        numbers = [entry.minimum, *entry.quantiles, entry.maximum, entry.mean, entry.std]
        unit = "" if entry.unit == "1" else entry.unit
        table.add_row(entry.name, unit, *(f"{number:.4g}" for number in numbers))
    out.print(table)


def _print_chain(out: "Console", chain: "Chain") -> None:
    number = {step.id: i for i, step in enumerate(chain, start=1)}
    for i, step in enumerate(chain, start=1):
        parents = ", ".join(str(number[parent]) for parent in step.parent if parent in number)
        origin = f" (from {parents})" if parents and parents != str(i - 1) else ""
        out.print(f"  {i}. {step.command}{origin}")
        seed = "" if step.seed is None else f", seed {step.seed}"
        out.print(f"     {step.program} {step.version}, {step.time}{seed}")
