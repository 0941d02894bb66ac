"""The background density rho of an event: the median pT per area of its kT jets.

M. Cacciari, G. P. Salam, Phys. Lett. B 659 (2008) 119; with the correction for empty space of
CMS, JHEP 08 (2012) 130, section 3.
"""

import numpy as np

from hitools.core.features import BoolArray, Float64Array, IntArray
from hitools.core.observables.jets.areas import ghosts_per_jet
from hitools.core.observables.jets.clustering import Clustering, cluster
from hitools.core.observables.jets.definition import BACKGROUND_RADIUS, N_HARDEST_EXCLUDED
from hitools.core.observables.jets.kinematics import pseudorapidity, transverse_momentum


def background_density(
    objects: Float64Array,
    offsets: IntArray,
    n_particles: IntArray,
    ghost_area: float,
    eta_max: float,
    *,
    four_vector_area: bool,
    dense: bool = False,
) -> tuple[Float64Array, Float64Array]:
    """Rho of each event, in two definitions, in GeV/c per unit area.

    kT jets with R = 0.4; the two hardest of the event are left out, then those with
    |eta| >= eta_max - 0.4.

    Args:
        objects: (4, n_objects_total) particles of each event, then its ghosts.
        offsets: (n_events + 1,).
        n_particles: (n_events,) how many of an event's objects are particles.
        ghost_area: area that a ghost counts for.
        eta_max: the ghosts cover |y| < eta_max.
        four_vector_area: divide pT by the transverse component of the area four-vector, not by
            the number of ghosts times their area.
        dense: see clustering.cluster.

    Returns:
        (n_events,) the median over all jets, and (n_events,) the median over those that hold a
        particle, times the fraction of the area of all jets accepted that such jets cover (there
        with the two hardest). 0 where there is no jet.
    """
    n_events = len(n_particles)
    found = cluster(objects, offsets, "kt", BACKGROUND_RADIUS, with_ghosts=True, dense=dense)
    pt = transverse_momentum(found.momenta)
    ghosts = ghosts_per_jet(found, n_particles)
    area = ghosts * ghost_area
    occupied = np.diff(found.offsets) > ghosts
    accepted = (np.abs(pseudorapidity(found.momenta)) < eta_max - BACKGROUND_RADIUS) & (ghosts > 0)
    below = (
        _transverse_area(objects, offsets, n_particles, found) * ghost_area
        if four_vector_area
        else np.maximum(area, ghost_area)
    )
    density = np.where(occupied, pt / below, 0.0)  # not the 1e-100 GeV/c of the ghosts
    used = accepted & ~_hardest(pt, found.event)
    covered = np.bincount(found.event, area * (accepted & occupied), n_events)
    total = np.bincount(found.event, area * accepted, n_events)
    fraction = np.divide(covered, total, out=np.zeros(n_events), where=total > 0)
    return (
        _median_by_event(density, found.event, used, n_events),
        _median_by_event(density, found.event, used & occupied, n_events) * fraction,
    )


def _transverse_area(
    objects: Float64Array, offsets: IntArray, n_particles: IntArray, found: Clustering
) -> Float64Array:
    """(n_jets,) length of the sum of the ghosts' transverse unit vectors; 1 for none."""
    event = np.repeat(found.event, np.diff(found.offsets))
    of_ghosts = np.flatnonzero(found.members >= n_particles[event])
    x, y = objects[:2, offsets[event[of_ghosts]] + found.members[of_ghosts]]
    pt = np.hypot(x, y)
    jet = found.jet_of_member[of_ghosts]
    across, up = (np.bincount(jet, unit, len(found.event)) for unit in (x / pt, y / pt))
    return np.where((across == 0) & (up == 0), 1.0, np.hypot(across, up))


def _hardest(pt: Float64Array, event: IntArray) -> BoolArray:
    """(n_jets,) whether a jet is among the hardest of its event."""
    order = np.lexsort((-pt, event))
    rank = np.empty(len(pt), dtype=np.int64)
    rank[order] = np.arange(len(pt)) - np.searchsorted(event, event)
    return rank < N_HARDEST_EXCLUDED


def _median_by_event(
    values: Float64Array, event: IntArray, used: BoolArray, n_events: int
) -> Float64Array:
    """(n_events,) medians of the values used; 0 for an event with none."""
    values, event = values[used], event[used]
    ordered = values[np.lexsort((values, event))]
    counts = np.bincount(event, minlength=n_events)
    start = np.cumsum(counts) - counts
    medians = np.zeros(n_events)
    some = counts > 0
    low, high = (start + (counts - 1) // 2)[some], (start + counts // 2)[some]
    medians[some] = 0.5 * (ordered[low] + ordered[high])
    return medians
