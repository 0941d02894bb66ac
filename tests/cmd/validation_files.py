"""Event files for the tests of the validation commands: toys, and toys with a known defect."""

import dataclasses
from pathlib import Path

import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.format.meta import EventMeta
from hitools.core.format.writer import open_writer
from tests.core.toys import toy_events

FLOW = {2: 0.12, 3: 0.05}


def write(path: Path, events: EventBatch, *, generated: bool = False) -> Path:
    """Store events; `generated` says that their vectors may differ from their particles."""
    meta = EventMeta(system="toy", event_vectors="generated" if generated else "particles")
    with open_writer(path, meta) as out:
        for batch in events.split(50_000):
            out.write(batch)
    return path


def toy_pair(n_events: int = 3000) -> tuple[EventBatch, EventBatch]:
    """Two halves of one parent."""
    events = toy_events(2 * n_events, 11, mean_particles=60, flow=FLOW)
    return events[:n_events], events[n_events:]


def with_particles(events: EventBatch, **columns: np.ndarray) -> EventBatch:
    """The same event vectors with other pt, eta or phi of the particles."""
    from hitools.core.features import PARTICLE_INDEX

    particles = events.particles.copy()
    for name, values in columns.items():
        particles[:, PARTICLE_INDEX[name]] = values
    return dataclasses.replace(events, particles=particles)


def phi_shifted(events: EventBatch) -> EventBatch:
    """Particles turned by 0.2 rad against their event vectors."""
    from hitools.core.features import wrap_angle

    return with_particles(events, phi=wrap_angle(events.particle("phi") + np.float32(0.2)))


def pt_scaled(events: EventBatch) -> EventBatch:
    """All transverse momenta 2% too high, event vectors following."""
    return with_particles(events, pt=events.particle("pt") * np.float32(1.02)).recomputed()


def flow_removed(events: EventBatch) -> EventBatch:
    """Every particle at a random azimuth, event vectors following."""
    phi = np.random.default_rng(3).uniform(-np.pi, np.pi, len(events.particles))
    return with_particles(events, phi=phi).recomputed()


def tail_cut(events: EventBatch) -> EventBatch:
    """No particle above 3 GeV/c: each such one comes again with a soft pT."""
    pt = events.particle("pt").copy()
    pt[pt > 3] = 0.5
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


DEFECTS = {
    "phi shifted": phi_shifted,
    "pt scaled": pt_scaled,
    "flow removed": flow_removed,
    "tail cut": tail_cut,
    "swapped": swapped,
}
