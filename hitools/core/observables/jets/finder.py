"""Jets of a batch of events: clustering, areas, background, substructure put together."""

from collections.abc import Iterator
from enum import IntEnum
from typing import Final

import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.features import Float64Array, IntArray
from hitools.core.observables.jets.areas import add_ghosts, anti_kt_areas, ghosts_per_jet
from hitools.core.observables.jets.background import background_density
from hitools.core.observables.jets.clustering import Clustering, cluster
from hitools.core.observables.jets.definition import Areas, JetDefinition, angularity_name
from hitools.core.observables.jets.ghosts import GhostGrid, event_generator
from hitools.core.observables.jets.kinematics import (
    azimuth,
    four_momenta,
    mass_squared,
    pseudorapidity,
    transverse_momentum,
)
from hitools.core.observables.jets.ragged import offsets_of, take_rows
from hitools.core.observables.jets.substructure import angularity, axes_and_grooming
from hitools.core.observables.jets.table import (
    JetBatch,
    Table,
    event_columns,
    jet_columns,
    substructure_columns,
    table_type,
)

_CROWDED: Final = 450
"""From this many particles on an event is full of jets, and one clustering with all ghosts costs
less than one without and one with those near the jets."""
_DENSE: Final = 250
"""More particles than this in a cell of 0.1 x 0.1 occur in no real event, but in collapsed ones."""
_OBJECTS_AT_ONCE: Final = 100_000
"""Particles and ghosts that FastJet holds at a time (about 50 MB)."""


class _Kind(IntEnum):
    """How an event is best clustered."""

    SPARSE = 0
    CROWDED = 1
    DENSE = 2


def find_jets(batch: EventBatch, definition: JetDefinition) -> JetBatch:
    """All jets of these events.

    An event's result depends on the event and on the definition, not on the rest of the batch.
    """
    pieces = [_find(run, kind, definition) for run, kind in _runs(batch, definition)]
    return JetBatch.concatenate(pieces) if pieces else JetBatch.empty(definition)


def _runs(batch: EventBatch, definition: JetDefinition) -> Iterator[tuple[EventBatch, _Kind]]:
    """Neighbouring events of one kind, within the limit of memory."""
    n_ghosts = 0 if definition.areas is None else len(_grid(definition, definition.areas))
    kinds = _kinds(batch)
    start = 0
    while start < len(batch):
        objects = np.cumsum(batch.n_particles[start:] + n_ghosts)
        stop = start + max(1, int(np.searchsorted(objects, _OBJECTS_AT_ONCE, side="right")))
        change = np.flatnonzero(kinds[start:stop] != kinds[start])
        stop = start + int(change[0]) if len(change) else stop
        yield batch[start:stop], _Kind(int(kinds[start]))
        start = stop


def _kinds(batch: EventBatch) -> IntArray:
    """(n_events,) the kind of each event."""
    kinds = np.where(batch.n_particles >= _CROWDED, _Kind.CROWDED, _Kind.SPARSE).astype(np.int64)
    eta, phi = batch.particle("eta"), batch.particle("phi")
    for k in np.flatnonzero(batch.n_particles > _DENSE):
        own = slice(batch.offsets[k], batch.offsets[k + 1])
        row = np.clip(10 * eta[own], -200, 200).astype(np.int64) + 200
        column = (10 * phi[own]).astype(np.int64) + 32
        if np.bincount(row * 64 + column).max() > _DENSE:
            kinds[k] = _Kind.DENSE
    return kinds


def _grid(definition: JetDefinition, areas: Areas) -> GhostGrid:
    return GhostGrid(definition.eta_max, areas.ghost_area)


def _find(batch: EventBatch, kind: _Kind, definition: JetDefinition) -> JetBatch:
    """Jets of some events of one kind."""
    dense = kind == _Kind.DENSE
    momenta, offsets, index_in_event = _particles(batch, definition)
    n_particles = np.diff(offsets)
    events = np.zeros(len(batch), table_type(event_columns(definition)))
    events["weight"] = batch.weights_or_ones
    if definition.areas is None:
        found = cluster(momenta, offsets, definition.algorithm, definition.radius, dense=dense)
        chosen = _select(found, definition)
        jets = _table(found, chosen, definition)
    else:
        grid = _grid(definition, definition.areas)
        ghosts = _draw_ghosts(batch, grid, definition.seed)
        objects, object_offsets = add_ghosts(momenta, offsets, ghosts)
        if definition.algorithm == "antikt" and kind == _Kind.SPARSE:
            found = cluster(momenta, offsets, definition.algorithm, definition.radius)
            chosen = _select(found, definition)
            area = anti_kt_areas(
                momenta,
                offsets,
                found.momenta[:, chosen],
                found.event[chosen],
                found.members[found.offsets[chosen]],
                ghosts,
                grid,
                definition.radius,
            )
        else:
            found = cluster(
                objects,
                object_offsets,
                definition.algorithm,
                definition.radius,
                with_ghosts=True,
                dense=dense,
            )
            chosen = _select(found, definition)
            ghosts_inside = ghosts_per_jet(found, n_particles)[chosen]
            area = grid.ghost_area * ghosts_inside.astype(np.float64)
        jets = _table(found, chosen, definition)
        rho_all, rho_occupied = background_density(
            objects,
            object_offsets,
            n_particles,
            grid.ghost_area,
            definition.eta_max,
            four_vector_area=definition.areas.rho_area == "4vector",
            dense=dense,
        )
        events["rho_all"], events["rho_occupied"] = rho_all, rho_occupied
        events["rho"] = events[f"rho_{definition.areas.rho_definition}"]
        jets["area"] = area
        jets["rho_area"] = events["rho"][jets["event"]] * area
        jets["pt_subtracted"] = jets["pt"] - jets["rho_area"]
    events["n_jets"] = np.bincount(jets["event"], minlength=len(batch))
    members, member_offsets = _constituents(found, chosen, n_particles)
    jets["n_constituents"] = np.diff(member_offsets)
    in_batch = np.repeat(offsets[jets["event"]], jets["n_constituents"]) + members
    constituents = momenta[:, in_batch]
    _look_inside(
        jets, found.momenta[:, chosen], constituents, member_offsets, definition, dense=dense
    )
    return JetBatch(jets, events, index_in_event[in_batch] if definition.constituents else None)


def _particles(
    batch: EventBatch, definition: JetDefinition
) -> tuple[Float64Array, IntArray, IntArray]:
    """Four-momenta of the particles accepted, offsets, and the index of each in its event."""
    eta = batch.particle("eta")
    kept = np.flatnonzero(np.abs(eta) <= np.float32(definition.eta_max))
    momenta = four_momenta(
        batch.particle("pt")[kept],
        eta[kept],
        batch.particle("phi")[kept],
        definition.particle_mass_gev,
    )
    event = batch.event_of_particle[kept]
    return (
        momenta,
        offsets_of(np.bincount(event, minlength=len(batch))),
        kept - batch.offsets[event],
    )


def _draw_ghosts(batch: EventBatch, grid: GhostGrid, seed: int) -> list[Float64Array]:
    columns = [batch.particle(name) for name in ("pt", "eta", "phi")]
    ghosts = []
    for k in range(len(batch)):
        own = slice(batch.offsets[k], batch.offsets[k + 1])
        ghosts.append(grid.draw(event_generator(seed, *(column[own] for column in columns))))
    return ghosts


def _select(found: Clustering, definition: JetDefinition) -> IntArray:
    """Indices of the jets accepted, by event and falling pT."""
    pt = transverse_momentum(found.momenta)
    chosen = np.flatnonzero(pt >= definition.pt_min)
    eta = pseudorapidity(found.momenta[:, chosen])
    chosen = chosen[np.abs(eta) < definition.jet_acceptance]
    return chosen[np.lexsort((-pt[chosen], found.event[chosen]))]


def _table(found: Clustering, chosen: IntArray, definition: JetDefinition) -> Table:
    momenta = found.momenta[:, chosen]
    jets = np.zeros(len(chosen), table_type(jet_columns(definition)))
    jets["event"] = found.event[chosen]
    jets["pt"] = transverse_momentum(momenta)
    jets["eta"] = pseudorapidity(momenta)
    jets["phi"] = azimuth(momenta)
    jets["energy"] = momenta[3]
    jets["mass"] = np.sqrt(mass_squared(momenta))
    return jets


def _constituents(
    found: Clustering, chosen: IntArray, n_particles: IntArray
) -> tuple[IntArray, IntArray]:
    """Particles of the chosen jets, as indices among an event's particles, rising in each jet."""
    source, offsets = take_rows(found.offsets, chosen)
    members = found.members[source]
    jet = np.repeat(np.arange(len(chosen)), np.diff(offsets))
    is_particle = members < n_particles[found.event[chosen]][jet]
    members, jet = members[is_particle], jet[is_particle]
    rising = np.lexsort((members, jet))
    return members[rising], offsets_of(np.bincount(jet, minlength=len(chosen)))


def _look_inside(
    jets: Table,
    jet_momenta: Float64Array,
    constituents: Float64Array,
    offsets: IntArray,
    definition: JetDefinition,
    *,
    dense: bool,
) -> None:
    """Fill the columns of substructure; NaN for the jets that are too soft for it."""
    inside = definition.substructure
    if inside is None:
        return
    for name in substructure_columns(definition):
        jets[name] = np.nan
    hard = np.flatnonzero(jets["pt"] >= inside.pt_min)
    if not len(hard):
        return
    source, offsets = take_rows(offsets, hard)
    constituents, axes = constituents[:, source], jet_momenta[:, hard]
    radius, exponents = definition.radius, definition.angularities
    columns = axes_and_grooming(
        axes, constituents, offsets, inside.z_cut, inside.beta, radius, dense=dense
    )
    sums = angularity(axes, constituents, offsets, exponents, radius)
    names = [angularity_name(*pair) for pair in exponents]
    for name, values in (*columns.items(), *zip(names, sums, strict=True)):
        jets[name][hard] = values
