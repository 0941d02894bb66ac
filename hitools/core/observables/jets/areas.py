"""Active areas of jets: how many ghosts each one takes in.

M. Cacciari, G. P. Salam, G. Soyez, JHEP 04 (2008) 005.
"""

from collections.abc import Sequence

import numpy as np

from hitools.core.features import Float64Array, IntArray
from hitools.core.observables.jets.clustering import Clustering, cluster
from hitools.core.observables.jets.ghosts import GhostGrid
from hitools.core.observables.jets.kinematics import azimuth, rapidity
from hitools.core.observables.jets.ragged import offsets_of


def add_ghosts(
    momenta: Float64Array, offsets: IntArray, ghosts: Sequence[Float64Array]
) -> tuple[Float64Array, IntArray]:
    """Each event's ghosts behind its particles.

    Args:
        momenta: (4, n_particles_total).
        offsets: (n_events + 1,).
        ghosts: one array (4, n_ghosts) an event.

    Returns:
        (4, n_objects_total) and (n_events + 1,).
    """
    pieces = [
        piece
        for k, own in enumerate(ghosts)
        for piece in (momenta[:, offsets[k] : offsets[k + 1]], own)
    ]
    counts = np.diff(offsets) + np.array([own.shape[1] for own in ghosts], dtype=np.int64)
    return np.concatenate(pieces, axis=1), offsets_of(counts)


def ghosts_per_jet(clustering: Clustering, n_particles: IntArray) -> IntArray:
    """(n_jets,) ghosts in each jet.

    Args:
        clustering: of particles with ghosts behind them.
        n_particles: (n_events,) particles per event; members from there on are ghosts.
    """
    is_ghost = clustering.members >= np.repeat(
        n_particles[clustering.event], np.diff(clustering.offsets)
    )
    return np.add.reduceat(is_ghost, clustering.offsets[:-1], dtype=np.int64)


def anti_kt_areas(
    momenta: Float64Array,
    offsets: IntArray,
    jets: Float64Array,
    event: IntArray,
    lowest_member: IntArray,
    ghosts: Sequence[Float64Array],
    grid: GhostGrid,
    radius: float,
) -> Float64Array:
    """Areas of some anti-kT jets, from the ghosts around them alone.

    In anti-kT two ghosts never meet before all particles have, so a ghost far away changes
    nothing: those within 2R of a jet give it the area that all of them give.

    Args:
        momenta: (4, n_particles_total).
        offsets: (n_events + 1,).
        jets: (4, n_jets) the jets, ordered by event.
        event: (n_jets,) event of each jet.
        lowest_member: (n_jets,) lowest index of a particle in each jet, by which it is found
            again.
        ghosts: the ghosts of each event.
        grid: that they were drawn from.
        radius: R.

    Returns:
        (n_jets,) areas.
    """
    if not len(event):
        return np.zeros(0)
    events, own_event = np.unique(event, return_inverse=True)
    starts = np.searchsorted(event, events)
    jet_rapidity, jet_phi = rapidity(jets), azimuth(jets)
    near = [
        ghosts[k][:, grid.near(jet_rapidity[jets_of_k], jet_phi[jets_of_k], 2 * radius)]
        for k, jets_of_k in zip(events, np.split(np.arange(len(event)), starts[1:]), strict=True)
    ]
    particles = np.concatenate([momenta[:, offsets[k] : offsets[k + 1]] for k in events], axis=1)
    n_particles = np.diff(offsets)[events]
    objects, object_offsets = add_ghosts(particles, offsets_of(n_particles), near)
    found = cluster(objects, object_offsets, "antikt", radius, with_ghosts=True)
    # Where a jet holds a particle, its first member is the lowest one, the same as without ghosts.
    jet_at = np.full(object_offsets[-1], -1, dtype=np.int64)
    jet_at[object_offsets[found.event] + found.members[found.offsets[:-1]]] = np.arange(
        len(found.event)
    )
    same_jet = jet_at[object_offsets[own_event] + lowest_member]
    return ghosts_per_jet(found, n_particles)[same_jet] * grid.ghost_area
