"""Pairs of a trigger particle and every other particle of its event (paper, section IV C, Fig. 6).

Only triggers are looped over: a hard particle in a hundred makes a loop over all pairs a hundred
times too long.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.features import FloatArray, IntArray, wrap_angle

_MAX_PAIRS = 1 << 20


@dataclass(frozen=True)
class PairCuts:
    """Which particles are triggers and which are their partners; pT in GeV/c.

    Attributes:
        trigger_pt: a trigger has more than this.
        associated_pt: lowest and highest pT of a partner, the highest excluded.
        eta_gap: partners closer than this in |delta eta| are left out; 0 keeps all.
    """

    trigger_pt: float = 4.0
    associated_pt: tuple[float, float] = (0.0, np.inf)
    eta_gap: float = 0.0


@dataclass(frozen=True)
class Pairs:
    """Some pairs, one row each.

    Attributes:
        delta_phi: (n_pairs,) phi_trigger - phi_associated in (-pi, pi].
        trigger: (n_pairs,) which of the triggers, in the order of triggers(batch, cuts).
    """

    delta_phi: FloatArray
    trigger: IntArray


def triggers(batch: EventBatch, cuts: PairCuts) -> IntArray:
    """(n_triggers,) indices of the trigger particles."""
    return np.flatnonzero(batch.particle("pt") > cuts.trigger_pt)


def trigger_pairs(
    batch: EventBatch, cuts: PairCuts, max_pairs: int = _MAX_PAIRS
) -> Iterator[Pairs]:
    """All pairs of the events, in pieces of about max_pairs.

    A trigger is a partner of other triggers, not of itself.
    """
    particle = triggers(batch, cuts)
    if not particle.size:
        return
    n_partners = batch.n_particles[batch.event_of_particle[particle]]
    piece = np.cumsum(n_partners) // max_pairs
    for rows in np.split(np.arange(len(particle)), np.flatnonzero(np.diff(piece)) + 1):
        yield _pairs_of(batch, cuts, particle, rows, n_partners[rows])


def _pairs_of(
    batch: EventBatch, cuts: PairCuts, particle: IntArray, rows: IntArray, n_partners: IntArray
) -> Pairs:
    """Pairs of these rows of the triggers."""
    first = batch.offsets[batch.event_of_particle[particle[rows]]]
    end = np.cumsum(n_partners)
    partner = np.arange(end[-1]) + np.repeat(first - end + n_partners, n_partners)
    kept = np.ones(len(partner), np.bool_)
    kept[end - n_partners + particle[rows] - first] = False  # the trigger itself
    low, high = cuts.associated_pt
    if low > 0 or high < np.inf:
        pt = batch.particle("pt")[partner]
        kept &= (pt >= low) & (pt < high)
    if cuts.eta_gap > 0:
        eta = batch.particle("eta")
        own = np.repeat(eta[particle[rows]], n_partners)
        kept &= np.abs(own - eta[partner]) >= cuts.eta_gap
    trigger = np.repeat(rows, n_partners)[kept]
    phi = batch.particle("phi").astype(np.float64)
    return Pairs(wrap_angle(phi[particle][trigger] - phi[partner[kept]]), trigger)
