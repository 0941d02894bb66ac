"""The card of a model: what it is, how it was made, what it reaches, where it fails.

Written from what was recorded and measured; only the notes on known failures may be by hand.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hitools.core.model.folder import ModelConfig, ModelFolder
from hitools.core.model.shipped import summarise
from hitools.core.report.page import number, with_error
from hitools.core.report.scorecard import MEANING


def card(
    name: str,
    folder: ModelFolder,
    scores: Mapping[str, Any] | None,
    *,
    made_by: str,
    stages: Sequence[tuple[str, float, int]],
    notes: str = "",
) -> str:
    """The text of README.md.

    Args:
        name: of the model.
        folder: with its configuration and weights.
        scores: its entry in scorecard.json; None before anything was measured.
        made_by: the command line that made it.
        stages: name, seconds of training and number of events of each stage.
        notes: known failures in words, Markdown.
    """
    config = folder.read_config()
    summary = summarise(folder)
    selection = str(config.meta.selection or "particles of unknown selection")
    minutes = sum(seconds for _, seconds, _ in stages) / 60
    parts = [
        f"# {name}",
        (
            f"Minimum-bias {summary.collisions}, {selection}; {summary.n_weights or 0:,} weights, "
            f"trained for {minutes:.1f} minutes.\n"
            f"By default {summary.sampling}."
        ),
        f"```\nhi-sample -m {name} -n 1000 | hi-jets -\n```",
        "## Data",
        _data(config),
        "## Training",
        _training(config, made_by, stages),
        "## What it reaches",
        _scores(scores),
        "## Known failures",
        _failures(scores, notes),
    ]
    return "\n\n".join(parts) + "\n"


def _data(config: ModelConfig) -> str:
    data = config.data
    lines = [
        (
            f"{data['n_train']:,} events with {data['n_particles']:,} particles to train on, "
            f"{data['n_validation']:,} to choose the best epoch with. "
            "The commands behind them, and the last stage of the training:"
        ),
        "",
    ]
    for step in config.meta.provenance:
        seed = "" if step.seed is None else f", seed {step.seed}"
        lines.append(f"- `{step.command}` ({step.program} {step.version}, {step.time}{seed})")
    return "\n".join(lines)


def _training(config: ModelConfig, made_by: str, stages: Sequence[tuple[str, float, int]]) -> str:
    options = config.training
    batch = options["batch"] * options["processes"]
    lines = [f"```\n{made_by}\n```", ""]
    lines += [
        f"- {name}: {seconds / 60:.1f} minutes, {n_events:,} events"
        for name, seconds, n_events in stages
    ]
    lines.append(
        f"- last stage: preset {options['preset']}, seed {options['seed']}, {options['steps']} "
        f"steps of {batch:,} events, {options['optimiser']}, peak rate {options['rate']:g}, "
        f"{options['precision']}"
    )
    return "\n".join(lines)


def _scores(scores: Mapping[str, Any] | None) -> str:
    if scores is None:
        return "Nothing was measured yet."
    lines = [
        (
            f"{scores['events']['sample']:,} events of the model against "
            f"{scores['events']['reference']:,} real ones that neither training nor tuning saw."
        ),
        "",
        "| quantity | paper | goal | measured | floor | reached |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in scores["rows"]:
        unit = "" if row["unit"] == "1" else f" [{row['unit']}]"
        note = f" ({row['note']})" if row["note"] else ""
        cells = (
            row["label"] + unit,
            row["paper"],
            row["goal"],
            with_error(_or_nan(row["value"]), _or_nan(row["error"])) + note,
            number(_or_nan(row["floor"])),
            row["reached"],
        )
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", MEANING, "", *scores["remarks"]]
    lines += ["", "Commands:", "", "```", *scores["commands"], "```"]
    return "\n".join(lines)


def _failures(scores: Mapping[str, Any] | None, notes: str) -> str:
    rows = [] if scores is None else [row for row in scores["rows"] if row["reached"] == "no"]
    lines = [f"- {row['label']}: {number(_or_nan(row['value']))}, {row['goal']}" for row in rows]
    missed = "Goals that are missed:\n\n" + "\n".join(lines) if lines else ""
    measured = (
        [] if scores is None else [r for r in scores["rows"] if r["reached"] != "not measured"]
    )
    unknown = "" if measured else "Not measured yet."
    found = [text for text in (unknown, missed, notes.strip()) if text]
    return "\n\n".join(found) if found else "None of the goals that were measured is missed."


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
