"""Trigger pairs against a loop over all pairs."""

import math

import numpy as np
import pytest

from hitools.core.observables.pairs import PairCuts, trigger_pairs, triggers
from tests.core.toys import toy_events

CUTS = {
    "paper": PairCuts(trigger_pt=2.0),
    "gap": PairCuts(trigger_pt=1.0, eta_gap=0.8),
    "window": PairCuts(trigger_pt=1.0, associated_pt=(0.5, 1.5)),
}


def _of_trigger(events, cuts, trigger):
    particle = triggers(events, cuts)[trigger]
    return events.particle("pt")[particle], events.event_of_particle[particle]


def _loop(events, cuts):
    pt, eta, phi = (events.particle(name).astype(float) for name in ("pt", "eta", "phi"))
    for e in range(len(events)):
        members = range(events.offsets[e], events.offsets[e + 1])
        for i in members:
            if not pt[i] > cuts.trigger_pt:
                continue
            for j in members:
                low, high = cuts.associated_pt
                near = cuts.eta_gap > 0 and abs(eta[i] - eta[j]) < cuts.eta_gap
                if i == j or near or not low <= pt[j] < high:
                    continue
                delta = phi[i] - phi[j]
                yield math.atan2(math.sin(delta), math.cos(delta)), pt[i], e


@pytest.mark.parametrize("name", CUTS)
@pytest.mark.parametrize("max_pairs", [1, 100, 1 << 20])
def test_pairs_are_those_of_the_double_loop(name, max_pairs):
    events, cuts = toy_events(12, 1, mean_particles=30), CUTS[name]
    pieces = list(trigger_pairs(events, cuts, max_pairs))
    found = np.concatenate(
        [np.stack([p.delta_phi, *_of_trigger(events, cuts, p.trigger)], axis=1) for p in pieces]
    )
    expected = np.array(list(_loop(events, cuts)))
    assert len(expected) > 50
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_no_trigger_gives_no_pairs():
    events = toy_events(3)
    assert list(trigger_pairs(events, PairCuts(trigger_pt=1e6))) == []
    assert len(triggers(events, PairCuts(trigger_pt=1e6))) == 0
