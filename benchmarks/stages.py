"""Which stage of a model brings a fault in: particles, slices or hard particles.

    python benchmarks/stages.py MODEL REFERENCE.h5 [-n EVENTS] [--json]
        [--particles LOW HIGH] [--slices-only]

A model draws event vectors, hard particles, slices of eta and the other particles, each given those
before. Here one stage after the other is drawn, all before it is real: particles; slices and
particles; hard particles, slices and particles; the rest of each event is that of an event of
REFERENCE, and what comes out is compared with that very event. So most of the statistical error is
common to both, and a fault shows where it comes in. Told are the event-plane resolution of the
particles and, of slices, cos 2 (psi_A - psi_B) of the outer two on both sides, and for each vector
the mean square and the mean product of slices three and four apart, over the mean square of real
ones; hard particles are part of all. --particles takes events of that many, HIGH itself not;
--slices-only leaves out what takes long.
"""

import json
import os
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported

import numpy as np
import torch
from reference import ANY_NUMBER, asked, encoded, parser, real_events

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.features import FloatArray, particle_features
from hitools.core.generator import Generator
from hitools.core.model.event_particles import EventParticles
from hitools.core.model.sampling import Sampling
from hitools.core.model.shipped import find_model
from hitools.core.nets.rotary_net import RotaryNet
from hitools.core.observables.qvector import Phases, SubEvents, event_planes
from hitools.core.representation.aligned import Aligned, is_hard
from hitools.core.representation.event_scores import EVENT_SCORES
from hitools.core.representation.slices import N_SLICES

SEED = 31
GAP = 1.0
"""In eta, between the halves of the event-plane resolution (paper, section IV C)."""

FAR = ((0, 3), (1, 4), (0, 4))
BLOCK = 4096
TINY = 1e-12

STAGES = ("particles", "slices", "hard")

Quantities = dict[str, FloatArray]
"""By name: (n_events,) of single events, nan where an event has none."""


class Stages:
    """Draws what comes after a stage, for real events up to it."""

    def __init__(self, name: str) -> None:
        """The model of this name. Raises InputError where it draws no hard particles first."""
        network, config = find_model(name).read_model()
        if not isinstance(network, RotaryNet) or network.hard is None:
            raise InputError(f"{name}: draws no hard particles")
        self.representation: Aligned = network.representation
        self._generator = Generator(
            network, config, Sampling(seed=SEED, **config.sampling), torch.device("cpu")
        )

    def real(self, batch: EventBatch, first: int) -> EventParticles:
        """What particles of real events are given, the hard ones known; numbers from first on."""
        z, x = encoded(self.representation, batch)
        counts = torch.from_numpy(batch.n_particles)
        event, hard = torch.repeat_interleave(counts), is_hard(x)
        return EventParticles(
            number=torch.arange(first, first + len(batch)),
            given=z,
            offsets=torch.from_numpy(batch.offsets),
            counts=counts,
            known=x[hard],
            n_known=torch.bincount(event[hard], minlength=len(batch)),
            hard_sums=self.representation.hard_sums(x[hard], z, event[hard]),
        )

    def drawn(self, stage: str, real: EventParticles) -> EventParticles:
        """The same from a stage on: nothing for "particles", slices, or hard ones and slices."""
        if stage == "particles":
            return real
        scores = real.given[:, : len(EVENT_SCORES)]
        known, n_known = real.known, real.n_known
        if stage == "hard":
            known, n_known = self._generator.draw_hard(real.number, scores, real.counts)
        return self._generator.with_slices(real.number, scores, real.offsets, known, n_known)

    def events(self, some: EventParticles, batch: EventBatch) -> EventBatch:
        """Events with these vectors, their particles drawn."""
        x = self._generator.draw_particles(some)
        counts = batch.n_particles
        pt, eta, phi, _ = self.representation.decode_particles(x, batch.events, counts)
        pt, eta, phi = (values.astype(np.float32) for values in (pt, eta, phi))
        particles = particle_features(pt, eta, phi, batch.offsets, batch.events)
        return EventBatch(batch.events, particles, batch.offsets)

    def of_slices(self, some: EventParticles) -> Quantities:
        """What the slices say, hard particles included."""
        sums = self.representation.slices.sums
        totals = self.representation.totals(some.given, some.counts, some.hard_sums)
        slices = totals[:, : sums.n_features].unflatten(1, (N_SLICES, -1))
        _, vectors = sums.split(slices * slices.new_tensor(sums.scales))
        found: Quantities = {}
        for place, (weight, k) in enumerate(sums.vectors):
            v = torch.view_as_complex(vectors[:, :, place].double().contiguous()).numpy()
            if place == sums.q_vector:
                found["cos2"] = _cosine(v[:, :2].sum(1), v[:, -2:].sum(1))
            found[f"{weight}_{k} own"] = np.square(np.abs(v)).mean(1)
            far = [(v[:, i] * v[:, j].conj()).real for i, j in FAR]
            found[f"{weight}_{k} far"] = np.mean(far, axis=0)
        return found


def _cosine(one: np.ndarray, other: np.ndarray) -> FloatArray:
    product = one * other.conj()
    length = np.abs(product)
    return np.where(length > TINY, product.real / np.maximum(length, TINY), np.nan)


def resolution(batch: EventBatch) -> Quantities:
    """Of single events: cos 2 (psi_A - psi_B) of the halves, weighted by pT."""
    halves = SubEvents.split(batch.particle("eta"), GAP)
    weight = batch.particle("pt").astype(np.float64)
    planes = event_planes(batch, Phases(batch.particle("phi")), 2, halves, weight)
    return {"resolution": np.where(planes.defined, planes.resolution, np.nan)}


def measured(
    stages: Stages, batches: Iterator[EventBatch], *, with_particles: bool
) -> dict[str, Quantities]:
    """Quantities of all events: "real", and of each of STAGES."""
    parts: dict[str, list[Quantities]] = defaultdict(list)
    first = 0
    for batch in batches:
        for start in range(0, len(batch), BLOCK):
            some = batch[start : start + BLOCK]
            some = some.take(np.argsort(-some.n_particles, kind="stable"))
            real = stages.real(some, first)
            first += len(some)
            parts["real"].append(resolution(some) | stages.of_slices(real))
            for stage in STAGES:
                drawn = stages.drawn(stage, real)
                found = {} if stage == "particles" else stages.of_slices(drawn)
                if with_particles:
                    found |= resolution(stages.events(drawn, some))
                parts[stage].append(found)
    return {
        who: {name: np.concatenate([one[name] for one in found]) for name in found[0]}
        for who, found in parts.items()
    }


def rows(found: dict[str, Quantities]) -> dict[str, dict[str, Any]]:
    """By quantity: its mean in real events and, by stage, what is drawn less that, and error."""
    table: dict[str, dict[str, Any]] = {}
    for name, real in found["real"].items():
        vector, _, what = name.partition(" ")
        unit = np.nanmean(found["real"][f"{vector} own"]) if what else 1.0
        row: dict[str, Any] = {"real": float(np.nanmean(real) / unit)}
        for stage in STAGES:
            if name in found[stage]:
                less = (found[stage][name] - real) / unit
                less = less[np.isfinite(less)]
                row[stage] = (float(less.mean()), float(less.std() / np.sqrt(len(less))))
        if len(row) > 1:
            table[name] = row
    return table


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--particles", type=int, nargs=2, default=(1, ANY_NUMBER))
    options.add_argument("--slices-only", action="store_true")
    given = asked(options)
    low, high = given.particles
    if not 1 <= low < high:
        options.error("--particles: expected two numbers, 1 <= LOW < HIGH")
    try:
        stages = Stages(given.model)
        batches = real_events(given.reference, given.events, low, high)
        table = rows(measured(stages, batches, with_particles=not given.slices_only))
    except InputError as problem:
        options.error(str(problem))
    if given.json:
        print(json.dumps(table, indent=1))
        return
    print(f"{given.model}: drawn less the same {given.events:,} events of {given.reference}")
    print(f"{'':12}{'real':>9}", *(f"{'from ' + stage + ' on':>22}" for stage in STAGES))
    for name, row in table.items():
        cells = ("{:9.4f} +- {:.4f}".format(*row[s]) if s in row else "" for s in STAGES)
        print(f"{name:12}{row['real']:9.4f}", *(f"{cell:>22}" for cell in cells))


if __name__ == "__main__":
    main()
