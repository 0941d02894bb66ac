"""The report as one HTML page: figures inside, no script, nothing fetched, fit for paper."""

import base64
import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from hitools.core.compare.quantity import Quantity
from hitools.core.format.meta import EventMeta
from hitools.core.report.checks import Section
from hitools.core.report.verdicts import GateOutcome, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LARGEST_SVG: Final = 600_000
"""Bytes; a figure of many cells is smaller, and drawn faster, as a PNG."""

_MARKS: Final = {2: "\N{CHECK MARK}", 1: "\N{ALMOST EQUAL TO}", 0: "\N{BALLOT X}", None: ""}
_CLASSES: Final = {2: "good", 1: "fair", 0: "bad", None: "none"}

_STYLE: Final = """
:root { color-scheme: light; }
body { font: 15px/1.4 system-ui, sans-serif; color: #1a1a1a; margin: 2em auto; max-width: 1080px;
  padding: 0 1em; }
h1 { font-size: 1.5em; margin: 0 0 .3em; } h2 { font-size: 1.2em; margin: 2em 0 .4em; }
table { border-collapse: collapse; font-size: .92em; }
th { text-align: left; border-bottom: 2px solid #1a1a1a; padding: .2em .7em .2em 0; }
td { border-bottom: 1px solid #ddd; padding: .12em .7em .12em 0; vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.name { color: #666; font-family: ui-monospace, monospace; font-size: .86em; }
.good { color: #1b6e2d; } .fair { color: #7a5a00; } .bad { color: #b00020; font-weight: 600; }
.none { color: #666; }
img { max-width: 100%; height: auto; display: block; margin: .6em 0; }
.all { columns: 2; column-gap: 2em; } .all table { width: 100%; font-size: .78em; }
p.remark { margin: .2em 0; } p.small { color: #666; font-size: .85em; }
@media print { body { margin: 0; max-width: none; font-size: 10px; }
  h2 { break-after: avoid; } img, tr { break-inside: avoid; } .all { font-size: .9em; } }
"""


@dataclass(frozen=True)
class InputSummary:
    """One of the two inputs, for the head of the page."""

    role: str
    name: str
    n_events: int
    n_particles: int
    meta: EventMeta


def page(
    inputs: Sequence[InputSummary],
    rows: Sequence[Row],
    judged: Sequence[GateOutcome],
    sections: Sequence[Section],
    footer: str,
) -> str:
    """The whole page.

    Args:
        inputs: reference and sample.
        rows: of the first table.
        judged: all gates.
        sections: in order.
        footer: program and version.
    """
    body = [
        "<h1>Sample against reference</h1>",
        _inputs(inputs),
        _gates(judged),
        _key_table(rows, inputs[0].meta.system),
        *(_section(section) for section in sections),
        f'<p class="small">{_text(footer)}</p>',
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{_text(inputs[1].name)} against {_text(inputs[0].name)}</title>\n"
        f"<style>{_STYLE}</style>\n</head>\n<body>\n" + "\n".join(body) + "\n</body>\n</html>\n"
    )


def _text(words: str) -> str:
    return html.escape(words)


def number(x: float) -> str:
    """Four digits; a dash for no number."""
    return f"{x:.4g}" if math.isfinite(x) else "\N{EN DASH}"


def with_error(value: float, error: float) -> str:
    """Value and error, both to the second digit of the error."""
    if not math.isfinite(value):
        return "\N{EN DASH}"
    if not math.isfinite(error) or error <= 0:
        return number(value)
    places = 1 - math.floor(math.log10(error))
    if not 0 <= places <= 7:
        return f"{value:.3g} \N{PLUS-MINUS SIGN} {error:.2g}"
    return f"{value:.{places}f} \N{PLUS-MINUS SIGN} {error:.{places}f}"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    head = "".join(
        f'<th class="n">{_text(title)}</th>'
        if cell.startswith('<td class="n"')
        else f"<th>{_text(title)}</th>"
        for title, cell in zip(titles, rows[0] if rows else titles, strict=True)
    )
    lines = "\n".join("<tr>" + "".join(cells) + "</tr>" for cells in rows)
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}\n</tbody>\n</table>"


def _inputs(inputs: Sequence[InputSummary]) -> str:
    def describe(entry: InputSummary) -> list[str]:
        energy = entry.meta.sqrt_s_nn_gev
        values = (
            entry.role,
            entry.name,
            entry.meta.system or "unknown",
            "unknown" if math.isnan(energy) else f"{energy:g} GeV",
            str(entry.meta.selection or "unknown"),
            f"{entry.n_events:,}",
            f"{entry.n_particles:,}",
        )
        return [f"<td>{_text(value)}</td>" for value in values]

    titles = ("", "input", "system", "\N{SQUARE ROOT}s_NN", "particles kept", "events", "particles")
    return _table(titles, [describe(entry) for entry in inputs])


def _gates(judged: Sequence[GateOutcome]) -> str:
    if not judged:
        return "<p>No gates were given; the verdicts follow floor and paper.</p>"
    failed = [outcome for outcome in judged if not outcome.holds]
    if not failed:
        return f'<p class="good">{_MARKS[2]} All {len(judged)} gates hold.</p>'
    lines = "; ".join(
        f"{o.gate} (value {number(o.value)})"
        if o.holds is not None
        else f"{o.gate} (no such value)"
        for o in failed
    )
    return (
        f'<p class="bad">{_MARKS[0]} {len(failed)} of {len(judged)} gates fail: {_text(lines)}</p>'
    )


def _key_table(rows: Sequence[Row], system: str | None) -> str:
    def cells(row: Row) -> list[str]:
        q = row.quantity
        unit = "" if q.unit == "1" or not math.isfinite(q.value) else f" {q.unit}"
        verdict = f"{_MARKS[row.good]} {row.verdict}".strip()
        paper = "" if row.paper is None else number(row.paper)
        return [
            f'<td>{_text(row.key.label)} <span class="name">{_text(q.name)}</span></td>',
            f'<td class="n">{_text(with_error(q.value, q.error) + unit)}</td>',
            f'<td class="n">{_text(number(q.floor))}</td>',
            f'<td class="n">{_text(paper)}</td>',
            f'<td class="{_CLASSES[row.good]}">{_text(verdict)}</td>',
        ]

    paper = f"paper, {system}" if system else "paper"
    note = (
        "Floor: the same number between two halves of the reference. At the floor: within two "
        "standard errors no worse than that. Like the paper: within two standard errors no worse "
        "than the paper's value."
    )
    table = _table(("quantity", "value", "floor", paper, "verdict"), [cells(row) for row in rows])
    return f'<h2>Summary</h2>\n{table}\n<p class="small">{note}</p>'


def _section(section: Section) -> str:
    parts = [f'<h2 id="{section.name}">{_text(section.title)}</h2>']
    parts += [f'<p class="remark">{_text(remark)}</p>' for remark in section.remarks]
    for name, figure in section.figures.items():
        parts.append(f'<img alt="{_text(f"{section.title}: {name}")}" src="{embedded(figure)}">')
    parts.append(f'<div class="all">{_all_numbers(section.quantities)}</div>')
    return "\n".join(parts)


def _all_numbers(quantities: Sequence[Quantity]) -> str:
    rows = [
        [
            f'<td class="name">{_text(q.name)}</td>',
            f'<td class="n">{_text(with_error(q.value, q.error))}</td>',
            f'<td class="n">{_text(number(q.floor))}</td>',
            f"<td>{'' if q.unit == '1' else _text(q.unit)}</td>",
        ]
        for q in quantities
    ]
    return _table(("quantity", "value", "floor", ""), rows)


def embedded(figure: "Figure") -> str:
    """The figure as a data address: SVG, or PNG where that is smaller."""
    from hitools.core.plot.style import save_figure

    with TemporaryDirectory() as folder:
        path = Path(folder) / "figure.svg"
        save_figure(figure, path)
        if path.stat().st_size > _LARGEST_SVG:
            path = path.with_suffix(".png")
            save_figure(figure, path)
        content = base64.b64encode(path.read_bytes()).decode()
    media_type = {".svg": "svg+xml", ".png": "png"}[path.suffix]
    return f"data:image/{media_type};base64,{content}"
