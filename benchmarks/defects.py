"""Which command catches which defect: the table of docs/validation.md, from real events.

    python benchmarks/defects.py REFERENCE.h5 [--events 4000] [--check NAME ...]

For whoever changes a validation command. One half of the events is the reference, the other half
the sample: as it is, and with one defect after another. Every command is run on each of them. A
number in bold fails the gate of its row. Ends with status 1 where a defect passes all gates, or
where the good half fails one.
"""

import argparse
import dataclasses
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.features import PARTICLE_INDEX, wrap_angle
from hitools.core.format.meta import EventMeta
from hitools.core.format.reader import open_events
from hitools.core.format.writer import open_writer

# Defects -----------------------------------------------------------------------------------


def with_particles(events: EventBatch, **columns: np.ndarray) -> EventBatch:
    """The same event vectors with other pt, eta or phi of the particles."""
    particles = events.particles.copy()
    for name, values in columns.items():
        particles[:, PARTICLE_INDEX[name]] = values
    return dataclasses.replace(events, particles=particles)


def phi_shifted(events: EventBatch) -> EventBatch:
    """Particles turned by 0.2 rad against their event vectors."""
    return with_particles(events, phi=wrap_angle(events.particle("phi") + np.float32(0.2)))


def pt_scaled(events: EventBatch) -> EventBatch:
    """All transverse momenta 2% too high, event vectors following."""
    return with_particles(events, pt=events.particle("pt") * np.float32(1.02)).recomputed()


def flow_removed(events: EventBatch) -> EventBatch:
    """Every particle at a random azimuth, event vectors following."""
    phi = np.random.default_rng(3).uniform(-np.pi, np.pi, len(events.particles))
    return with_particles(events, phi=phi).recomputed()


def tail_cut(events: EventBatch, above: float = 5.0) -> EventBatch:
    """No particle above this pT: each such one comes again at 0.5 GeV/c."""
    pt = events.particle("pt").copy()
    pt[pt > above] = 0.5
    return with_particles(events, pt=pt).recomputed()


def swapped(events: EventBatch) -> EventBatch:
    """Particles of two events of equal multiplicity exchanged, event vectors in their place.

    No distribution changes. An event without a partner of its multiplicity stays as it is.
    """
    order = np.argsort(events.n_particles, kind="stable")
    partner = np.arange(len(events))
    one, other = order[0::2][: len(events) // 2], order[1::2]
    same = events.n_particles[one] == events.n_particles[other]
    partner[one[same]], partner[other[same]] = other[same], one[same]
    return dataclasses.replace(events.take(partner), events=events.events)


def mixed(events: EventBatch) -> EventBatch:
    """Every particle from a random event, multiplicities kept, event vectors following."""
    order = np.random.default_rng(4).permutation(len(events.particles))
    return dataclasses.replace(events, particles=events.particles[order]).recomputed()


DEFECTS: dict[str, Callable[[EventBatch], EventBatch]] = {
    "phi shifted": phi_shifted,
    "pT x 1.02": pt_scaled,
    "flow removed": flow_removed,
    "tail cut": tail_cut,
    "swapped": swapped,
    "mixed": mixed,
}
GOOD = "good half"

# Gates -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gate:
    """A row of the table: a number, and what it must not exceed (or, if low, fall below).

    Attributes:
        quantity: its name.
        limit: in the quantity's unit, or in floors.
        floors: whether the limit is in floors: a distance has no scale of its own.
        low: the number must stay above.
    """

    quantity: str
    limit: float
    floors: bool = False
    low: bool = False

    def __str__(self) -> str:
        """As in the table."""
        return f"{'>' if self.low else '<'} {self.limit:g}{' floors' if self.floors else ''}"

    def holds(self, value: float, floor: float) -> bool:
        """No number, as where events close by construction, is no failure."""
        limit = self.limit * floor if self.floors else self.limit
        return math.isnan(value) or (value > limit if self.low else value < limit)


GATES = {
    "hi-w1": (
        Gate("w1_sd.pt", 3, floors=True),
        Gate("w1_sd.q_x", 3, floors=True),
        Gate("w1_sd.mean_pt", 3, floors=True),
        Gate("w1_sd.evt", 2.5, floors=True),
    ),
    "hi-qclosure": (
        Gate("q.correlation", 0.95, low=True),
        Gate("q.cos_2_delta_psi", 0.95, low=True),
    ),
    "hi-flow": (
        Gate("flow.c2_2.pull", 4),
        Gate("flow.d2_2.chi2_ndf", 2.5),
        Gate("flow.pairs.triggers.pull", 4),
        Gate("flow.pairs.chi2_ndf", 2.5),
    ),
    "hi-closure": (
        Gate("closure.pt.chi2_ndf", 2.5),
        Gate("closure.q_x.chi2_ndf", 2.5),
        Gate("closure.mean_pt.chi2_ndf", 2.5),
    ),
    "hi-jets": (
        Gate("jets.pt.w1", 3, floors=True),
        Gate("jets.n_constituents.chi2_ndf", 2.5),
        Gate("jets.rho.w1", 3, floors=True),
    ),
    "event": (Gate("p_value.event", 0.001, low=True),),
    "deepsets": (Gate("p_value.deepsets", 0.001, low=True),),
    "transformer": (Gate("p_value.transformer", 0.001, low=True),),
}
"""By check: a command, or one of the classifiers of hi-classify."""

SLOW = ("deepsets", "transformer")

SHOWN_WITH = {f"p_value.{name}": f"auc.{name}" for name in ("event", "deepsets", "transformer")}
"""A number that says how large the effect is, beside one that says whether it is proven."""

Numbers = dict[str, tuple[float, float]]
"""Value and floor by name."""


def write(path: Path, events: EventBatch) -> Path:
    """An event file whose vectors may differ from its particles."""
    with open_writer(path, EventMeta(event_vectors="generated")) as out:
        for batch in events.split(50_000):
            out.write(batch)
    return path


def read(path: str, n_events: int) -> EventBatch:
    """The first events of a file."""
    batches, n = [], 0
    with open_events(path) as source:
        for batch in source:
            batches.append(batch)
            n += len(batch)
            if n >= n_events:
                break
    if n < n_events:
        sys.exit(f"{path}: {n} events, --events asks for {n_events}")
    return EventBatch.concatenate(batches)[:n_events]


def run(name: str, *words: object) -> str:
    """What a command of this installation prints."""
    command = [str(Path(sys.executable).parent / name), "-q", *map(str, words)]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout


def numbers_of(check: str, reference: Path, sample: Path, seeds: int) -> Numbers:
    """All numbers of one check."""
    words: list[object] = [reference, sample, "--json"]
    command = check
    if check == "hi-qclosure":
        words = [sample, "--json"]
    elif check == "hi-jets":
        words = [jets_of(reference), jets_of(sample), "--json"]
    elif not check.startswith("hi-"):
        command = "hi-classify"
        words += ["--classifier", check, "--seeds", seeds]
        # Particles that belong to another event vector are seen beside that vector only.
        words += [] if check == "event" else ["--with-event-vector"]

    def known(x: float | None) -> float:
        return math.nan if x is None else x

    found = json.loads(run(command, *words))["quantities"]
    return {q["name"]: (known(q["value"]), known(q["floor"])) for q in found}


def jets_of(path: Path) -> Path:
    """Jets of these events, found once."""
    jets = path.with_suffix(".jets.h5")
    if not jets.exists():
        run("hi-jets", path, "-o", jets)
    return jets


def table(found: dict[str, dict[str, Numbers]], names: list[str]) -> tuple[list[str], set[str]]:
    """Lines of the table, and the samples that fail at least one gate.

    Args:
        found: numbers by check and sample.
        names: of the samples, in order.
    """
    caught: set[str] = set()
    lines = [
        "| " + " | ".join(["command", "quantity", "gate", "floor", *names]) + " |",
        "|" + "---|" * (4 + len(names)),
    ]
    for check, samples in found.items():
        for gate in GATES[check]:
            cells = []
            for name in names:
                value, floor = samples[name][gate.quantity]
                text = "by constr." if math.isnan(value) else f"{value:.2g}"
                if gate.quantity in SHOWN_WITH:
                    text += f" (AUC {samples[name][SHOWN_WITH[gate.quantity]][0]:.3f})"
                if not gate.holds(value, floor):
                    caught.add(name)
                    text = f"**{text}**"
                cells.append(text)
            floor = samples[GOOD][gate.quantity][1]
            command = check if check.startswith("hi-") else "hi-classify"
            shown = "" if math.isnan(floor) else f"{floor:.2g}"
            lines.append(
                "| " + " | ".join([command, f"`{gate.quantity}`", str(gate), shown, *cells]) + " |"
            )
    return lines, caught


def main() -> None:
    """Make the samples, run everything, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("reference", help="event file; its first events are used")
    parser.add_argument("--events", type=int, default=4000, help="half of them are the reference")
    parser.add_argument(
        "--check",
        action="append",
        choices=tuple(GATES),
        help="repeatable; default: all but the classifiers of particles, which take far longer",
    )
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each classifier")
    options = parser.parse_args()
    checks = options.check or [check for check in GATES if check not in SLOW]
    events = read(options.reference, options.events)
    half = len(events) // 2
    samples = {GOOD: events[half:]}
    samples |= {name: spoil(events[half:]) for name, spoil in DEFECTS.items()}
    found: dict[str, dict[str, Numbers]] = {check: {} for check in checks}
    with tempfile.TemporaryDirectory(prefix="hitools-") as folder:
        reference = write(Path(folder) / "reference.h5", events[:half])
        for k, (name, sample) in enumerate(samples.items()):
            path = write(Path(folder) / f"sample{k}.h5", sample)
            for check in checks:
                print(f"{name}: {check}", file=sys.stderr)
                found[check][name] = numbers_of(check, reference, path, options.seeds)
    lines, caught = table(found, list(samples))
    print("\n".join(lines))
    missed = [name for name in DEFECTS if name not in caught]
    if missed or GOOD in caught:
        wrong = [f"not caught: {', '.join(missed)}"] if missed else []
        wrong += ["the good half fails a gate"] if GOOD in caught else []
        sys.exit("; ".join(wrong))


if __name__ == "__main__":
    main()
