"""Time of the jet chain by step, and its ratio to the same chain in C++.

    python benchmarks/jets.py EVENTS.h5 ...

The C++ program (jets_floor.cpp, FastJet as its manual shows it) is compiled against the library
inside the fastjet wheel; without a compiler the ratios are left out. All times are processor
time in milliseconds an event of one process, the best of a few rounds in which both programs
take turns. Substructure is for jets above 5 GeV/c, ghosts have an area of 0.01 in |y| < 2.5.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import fastjet
import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.format.reader import open_events
from hitools.core.observables.jets import JetDefinition, Substructure, find_jets, finder
from hitools.core.observables.jets.areas import add_ghosts, anti_kt_areas, ghosts_per_jet
from hitools.core.observables.jets.background import background_density
from hitools.core.observables.jets.clustering import cluster, winner_take_all
from hitools.core.observables.jets.ghosts import GhostGrid
from hitools.core.observables.jets.ragged import take_rows
from hitools.core.observables.jets.substructure import angularity, soft_drop

ROUNDS = 5
MAX_PARTICLES = 60_000
CHAIN = JetDefinition(jet_eta_max=10.0, substructure=Substructure(pt_min=5.0))


def steps(batch: EventBatch) -> dict[str, Callable[[], object]]:
    """Each step on its own, prepared so that calling it does the step and nothing more."""
    momenta, offsets, _ = finder._particles(batch, CHAIN)
    n_particles = np.diff(offsets)
    grid = GhostGrid(2.5, 0.01)
    ghosts = finder._draw_ghosts(batch, grid, 1)
    objects, object_offsets = add_ghosts(momenta, offsets, ghosts)
    found = cluster(momenta, offsets, "antikt", 0.4)
    chosen = finder._select(found, CHAIN)
    jets = found.momenta[:, chosen]
    source, inside = take_rows(found.offsets, chosen)
    constituents = momenta[:, np.repeat(offsets[found.event[chosen]], np.diff(inside))
                           + found.members[source]]  # fmt: skip
    crowded = n_particles.mean() >= finder._CROWDED

    def with_areas() -> object:
        if crowded:
            whole = cluster(objects, object_offsets, "antikt", 0.4, with_ghosts=True)
            return ghosts_per_jet(whole, n_particles)
        cluster(momenta, offsets, "antikt", 0.4)
        lowest = found.members[found.offsets[chosen]]
        return anti_kt_areas(momenta, offsets, jets, found.event[chosen], lowest, ghosts, grid, 0.4)

    return {
        "draw ghosts": lambda: finder._draw_ghosts(batch, grid, 1),
        "cluster": lambda: cluster(momenta, offsets, "antikt", 0.4),
        "cluster with areas": with_areas,
        "background": lambda: background_density(
            objects, object_offsets, n_particles, grid.ghost_area, 2.5, four_vector_area=True
        ),
        "winner take all": lambda: winner_take_all(constituents, inside),
        "soft drop": lambda: soft_drop(constituents, inside, 0.1, 0.0, 0.4),
        "angularity": lambda: angularity(jets, constituents, inside, [(1.0, 2.0)], 0.4),
        "chain": lambda: find_jets(batch, CHAIN),
    }


def processor_time(work: Callable[[], object]) -> float:
    """Seconds."""
    start = time.process_time()
    work()
    return time.process_time() - start


def build_floor(folder: Path) -> Path | None:
    """The compiled C++ program, or None where there is no compiler."""
    if shutil.which("g++") is None:
        return None
    wheel = Path(fastjet.__file__).parent
    program = folder / "jets_floor"
    source = Path(__file__).with_name("jets_floor.cpp")
    library = wheel / "lib64"
    subprocess.run(
        ["g++", "-O2", "-std=c++17", str(source), "-o", str(program), f"-I{wheel / 'include'}",
         f"-L{library}", f"-Wl,-rpath,{library}", "-lfastjettools", "-lfastjet"],
        check=True,
    )  # fmt: skip
    return program


def run_floor(program: Path, batch: EventBatch, folder: Path) -> dict[str, float]:
    """Milliseconds an event by step, one round."""
    events = folder / "events.bin"
    columns = [batch.particle(name).astype("<f8") for name in ("pt", "eta", "phi")]
    with events.open("wb") as file:
        file.write(np.array([len(batch), *batch.n_particles], "<i8").tobytes())
        file.write(np.stack(columns, axis=1).tobytes())
    result = subprocess.run([program, events, "1"], capture_output=True, check=True)
    return {name: float(x) for name, x in json.loads(result.stdout).items()}


def best(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The shortest time of each step."""
    return {name: min(one[name] for one in rounds) for name in rounds[0]}


def main(paths: list[str]) -> None:
    """Print a table for each event file."""
    with tempfile.TemporaryDirectory() as name:
        program = build_floor(Path(name))
        for path in paths:
            with open_events(path, max_particles=MAX_PARTICLES) as events:
                batch = next(iter(events))
            work = steps(batch)
            ours, floor = [], []
            for _ in range(ROUNDS):
                ours.append(
                    {step: 1e3 * processor_time(do) / len(batch) for step, do in work.items()}
                )
                if program:
                    floor.append(run_floor(program, batch, Path(name)))
            mine, theirs = best(ours), best(floor) if floor else {}
            print(f"{path}: {len(batch)} events of {batch.n_particles.mean():.0f} particles")
            print(f"{'ms/event':>24} {'hitools':>9} {'C++':>9} {'ratio':>7}")
            for step, value in mine.items():
                cells = f"{theirs[step]:9.3f} {value / theirs[step]:7.2f}" if step in theirs else ""
                print(f"{step:>24} {value:9.3f} {cells}")


if __name__ == "__main__":
    main(sys.argv[1:])
