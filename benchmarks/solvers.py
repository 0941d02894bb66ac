"""Closure of a trained model against the number of network evaluations, by solver and grid.

    python benchmarks/solvers.py MODEL REFERENCE.h5 -o solvers.md --plot solvers.png

Every row makes particles from the same noise for the same event vectors, which the event branch
draws once with many steps: rows differ in the solver of the particle branch alone. "evt" says how
the event branch fares with the same solver and number of evaluations. The table is written again
after every row, so that a run that is stopped leaves what it has. docs/solvers.md says how to read
it.
"""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import torch

from hitools.core.batch import EventBatch
from hitools.core.compare.flow import FlowAccumulator, FlowOptions
from hitools.core.compare.qclosure import QClosureAccumulator
from hitools.core.compare.w1 import W1Accumulator
from hitools.core.diffusion.solvers import GRIDS, SOLVERS
from hitools.core.features import EVENT_COLUMNS, Float32Array
from hitools.core.files import write_text
from hitools.core.format.reader import open_events
from hitools.core.generator import Generator
from hitools.core.model.sampling import Sampling
from hitools.core.model.shipped import find_model
from hitools.core.plot import style

FINE = Sampling(seed=1, solver="heun", steps=128, event_steps=128)
"""As good as exact: 256 evaluations of second order."""

COLUMNS = {
    "w1.pt": "W1 pT (GeV/c)",
    "w1.eta": "W1 eta",
    "w1.phi": "W1 phi",
    "q.correlation.x": "Q corr. x",
    "q.correlation.y": "Q corr. y",
    "resolution": "resolution",
    "flow_error": "rms d ln pT",
    "w1_sd.evt": "W1 evt (sd)",
}
ERRORS = ("w1.pt", "w1.eta", "w1.phi", "q.correlation.x", "q.correlation.y", "resolution")
DRAWN = ("w1.pt", "q.correlation.x", "resolution", "flow_error")


@dataclass(frozen=True)
class Row:
    """One solver, grid and number of evaluations."""

    solver: str
    grid: str
    evaluations: int
    values: dict[str, float]
    errors: dict[str, float]
    ms_per_event: float

    def cells(self) -> list[str]:
        """As the table shows it."""
        cells = [self.solver, self.grid, f"{self.evaluations or ''}"]
        for name in COLUMNS:
            value, error = self.values.get(name, math.nan), self.errors.get(name, math.nan)
            shown = "" if math.isnan(value) else f"{value:.3g}"
            cells.append(shown if math.isnan(error) else f"{shown} ± {error:.1g}")
        return [*cells, "" if math.isnan(self.ms_per_event) else f"{self.ms_per_event:.3g}"]


class Study:
    """A model and a reference, and what is the same for every row."""

    def __init__(self, model: str, reference: Path, n_events: int, device: str) -> None:
        """Read both, draw the event vectors, make the particles that count as exact."""
        self.network, config = find_model(model).read_model()
        # The network is asked for every velocity that a solver wants.
        self.config = replace(config, first_velocity=None)
        self.device = torch.device(device)
        self.n_events = n_events
        with open_events(reference) as events:
            batches = [batch.take(batch.n_particles > 0) for batch in events]
        self.reference = EventBatch.concatenate(batches)
        self.vectors = self.draw(FINE)
        self.exact, _ = self.particles(FINE)

    def generator(self, sampling: Sampling, like: Float32Array | None = None) -> Generator:
        """hi-sample's generator."""
        return Generator(self.network, self.config, sampling, self.device, like=like)

    def draw(self, sampling: Sampling) -> Float32Array:
        """Event vectors from the event branch."""
        index = np.arange(self.n_events)
        return self.generator(sampling).draw_vectors(index, np.zeros_like(index))[0]

    def particles(self, sampling: Sampling) -> tuple[EventBatch, float]:
        """Events for the common vectors, and the seconds of the processor (or GPU) for them."""
        on_gpu = self.device.type == "cuda"
        clock = time.perf_counter if on_gpu else time.process_time
        start = clock()
        batch = EventBatch.concatenate(
            list(self.generator(sampling, self.vectors).sample(self.n_events))
        )
        return batch, clock() - start

    def row(self, solver: str, grid: str, evaluations: int) -> Row:
        """Make a sample and compare it."""
        steps = evaluations // SOLVERS[solver].evaluations_per_step
        sampling = Sampling(seed=1, solver=solver, steps=steps, grid=grid)
        # What an event is as a whole comes from as many steps in every row.
        sample, seconds = self.particles(replace(sampling, event_steps=FINE.event_steps))
        values, errors = closure(self.reference, sample)
        if not SOLVERS[solver].stochastic:
            difference = sample.particle("pt_rel") - self.exact.particle("pt_rel")
            values["flow_error"] = float(np.sqrt(np.mean(np.square(difference, dtype=float))))
        values["w1_sd.evt"] = event_distance(
            self.reference, self.draw(replace(sampling, event_steps=steps))
        )
        return Row(solver, grid, evaluations, values, errors, 1e3 * seconds / self.n_events)

    def floor(self) -> Row:
        """What the reference shows against itself: as good as a sample of it could be."""
        half = len(self.reference) // 2
        values, errors = closure(self.reference, self.reference)
        distances = W1Accumulator()
        distances.add_reference(self.reference)
        distances.add_sample(self.reference[: min(half, self.n_events)])
        floors = {q.name: q.floor for q in distances.result().quantities()}
        for name in values:
            if name.startswith("w1"):
                values[name] = floors[name]
        values["w1_sd.evt"] = floors["w1_sd.evt"]
        kept = {"resolution": errors["resolution"]}
        return Row("reference", "", 0, values, kept, math.nan)


def closure(reference: EventBatch, sample: EventBatch) -> tuple[dict[str, float], dict[str, float]]:
    """Values and errors of the compared numbers."""
    distances, closing = W1Accumulator(), QClosureAccumulator(None, 0)
    distances.add_reference(reference)
    distances.add_sample(sample)
    closing.add_sample(sample)
    flow = FlowAccumulator(FlowOptions(harmonics=(2,)))
    flow.add_sample(sample)
    quantities = [
        *distances.result().quantities(),
        *closing.result().quantities(),
        *flow.result().quantities(),
    ]
    found = {q.name: q for q in quantities}
    found["resolution"] = found["flow.v2_sp.resolution"]
    return {n: found[n].value for n in ERRORS}, {n: found[n].error for n in ERRORS}


def event_distance(reference: EventBatch, vectors: Float32Array) -> float:
    """Mean W1 of the event variables, each in standard deviations of the reference."""
    from scipy.stats import wasserstein_distance

    distances = []
    for column in range(len(EVENT_COLUMNS)):
        values = reference.events[:, column].astype(float)
        distance = wasserstein_distance(
            values, vectors[:, column], reference.weights_or_ones.astype(float)
        )
        distances.append(distance / (values.std() or math.nan))
    return float(np.nanmean(distances))


def table(rows: Sequence[Row], title: str) -> str:
    """Markdown."""
    header = ["solver", "grid", "evaluations", *COLUMNS.values(), "ms/event"]
    lines = [title, "", "| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row.cells()) + " |" for row in rows)]) + "\n"


def draw(rows: Sequence[Row], path: Path) -> None:
    """A row of panels for each quantity, a column for each grid."""
    floor, *others = rows
    grids = [grid for grid in GRIDS if any(row.grid == grid for row in others)]
    solvers = list(dict.fromkeys(row.solver for row in others))
    with style.house_style():
        figure, cells = style.new_grid(len(DRAWN), len(grids))
        for (i, name), (j, grid) in product(enumerate(DRAWN), enumerate(grids)):
            axes = figure.add_subplot(cells[i, j])
            for k, solver in enumerate(solvers):
                points = [row for row in others if (row.solver, row.grid) == (solver, grid)]
                number = k % len(style.COLOURS)
                axes.plot(
                    [row.evaluations for row in points],
                    [row.values.get(name, math.nan) for row in points],
                    color=style.COLOURS[number],
                    linestyle=style.LINES[number],
                    marker=style.MARKERS[k // len(style.COLOURS)],
                    label=solver,
                )
            if name in floor.values:
                axes.axhline(floor.values[name], color="#888888", linewidth=0.8, label="reference")
            axes.set_xscale("log", base=2)
            if name in ("w1.pt", "flow_error"):
                axes.set_yscale("log")
            axes.set_ylabel(COLUMNS[name])
            style.place_y_label(axes)
            if i == 0:
                axes.set_title(f"{grid} grid", loc="right")
            if i == len(DRAWN) - 1:
                axes.set_xlabel("network evaluations")
        figure.axes[0].legend()
    style.save_figure(figure, path)


def main() -> None:
    """Measure row by row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", metavar="MODEL", help="folder or name")
    parser.add_argument("reference", type=Path, metavar="REFERENCE.h5")
    parser.add_argument("-o", "--output", type=Path, default=Path("solvers.md"))
    parser.add_argument("--plot", type=Path, help="figure (.png, .pdf, .svg)")
    parser.add_argument("-n", "--events", type=int, default=1000, help="events of a row")
    parser.add_argument("--evaluations", type=int, nargs="+", default=[8, 16, 32, 64, 128])
    parser.add_argument("--solvers", nargs="+", default=list(SOLVERS), choices=SOLVERS)
    parser.add_argument("--grids", nargs="+", default=list(GRIDS), choices=GRIDS)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    if options.plot is not None:
        style.check_figure_path(options.plot)

    study = Study(options.model, options.reference, options.events, options.device)
    title = (
        f"`{Path(options.model).name}`, {options.events} events against {len(study.reference)} of "
        f"`{options.reference.name}`; exact: {FINE.solver}, "
        f"{SOLVERS[FINE.solver].evaluations(FINE.steps)} evaluations."
    )
    rows = [study.floor()]
    for grid, solver, evaluations in product(options.grids, options.solvers, options.evaluations):
        rows.append(study.row(solver, grid, evaluations))
        print(" ".join(rows[-1].cells()), file=sys.stderr)
        write_text(options.output, table(rows, title))
    if options.plot is not None:
        draw(rows, options.plot)
    print(table(rows, title), end="")


if __name__ == "__main__":
    main()
