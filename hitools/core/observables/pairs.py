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
        trigger_pt: (n_pairs,) GeV/c.
        event: (n_pairs,) index of the event in its batch.
    """

    delta_phi: FloatArray
    trigger_pt: FloatArray
    event: IntArray


def triggers(batch: EventBatch, cuts: PairCuts) -> IntArray:
    """(n_triggers,) indices of the trigger particles."""
    return np.flatnonzero(batch.particle("pt") > cuts.trigger_pt)


def trigger_pairs(
    batch: EventBatch, cuts: PairCuts, max_pairs: int = _MAX_PAIRS
) -> Iterator[Pairs]:
    """All pairs of the events, in pieces of about max_pairs.

    A trigger is a partner of other triggers, not of itself.
    """
    trigger = triggers(batch, cuts)
    if not trigger.size:
        return
    event = batch.event_of_particle[trigger]
    n_partners = batch.n_particles[event]
    piece = np.cumsum(n_partners) // max_pairs
    for rows in np.split(np.arange(len(trigger)), np.flatnonzero(np.diff(piece)) + 1):
        yield _pairs_of(batch, cuts, trigger[rows], event[rows], n_partners[rows])


def _pairs_of(
    batch: EventBatch, cuts: PairCuts, trigger: IntArray, event: IntArray, n_partners: IntArray
) -> Pairs:
    first = np.repeat(batch.offsets[event] - np.cumsum(n_partners) + n_partners, n_partners)
    partner = first + np.arange(n_partners.sum())
    own = np.repeat(trigger, n_partners)
    pt, eta, phi = (batch.particle(name) for name in ("pt", "eta", "phi"))
    low, high = cuts.associated_pt
    kept = (partner != own) & (pt[partner] >= low) & (pt[partner] < high)
    if cuts.eta_gap > 0:
        kept &= np.abs(eta[own] - eta[partner]) >= cuts.eta_gap
    own, partner = own[kept], partner[kept]
    delta_phi = wrap_angle(phi[own].astype(np.float64) - phi[partner])
    return Pairs(delta_phi, pt[own], batch.event_of_particle[own])
