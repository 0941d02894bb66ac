"""Events that are no ordinary events have defined jets too, and nothing is printed."""

import subprocess
import sys

import numpy as np
import pytest

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.observables.jets import (
    Areas,
    JetBatch,
    JetDefinition,
    Substructure,
    find_jets,
)
from tests.core.observables.jets.support import events_of

WIDE = JetDefinition(eta_max=5.0, jet_eta_max=6.0, constituents=True)


def test_no_event_at_all():
    found = find_jets(EventBatch.empty(), WIDE)
    assert len(found) == len(found.jets) == 0
    assert len(JetBatch.concatenate([found, found])) == 0


@pytest.mark.parametrize("algorithm", ["antikt", "kt", "cambridge"])
def test_an_event_without_particles_has_no_jet_and_no_background(algorithm):
    found = find_jets(events_of(np.zeros((0, 3)), [0, 0]), JetDefinition(algorithm))
    assert len(found) == 2
    assert len(found.jets) == 0
    assert (found.events["rho_all"] == 0).all()
    assert (found.events["rho_occupied"] == 0).all()


def test_no_particle_above_the_threshold_is_no_jet():
    found = find_jets(events_of([[0.3, 0.1, 0.0], [0.2, -1.0, 2.0]]), JetDefinition())
    assert found.events["n_jets"][0] == 0
    assert len(found.jets) == 0


def test_one_particle_is_a_jet_of_its_own():
    found = find_jets(events_of([[20.0, -0.5, 3.0]]), JetDefinition(constituents=True))
    (jet,) = found.jets
    assert jet["pt"] == pytest.approx(20.0)
    assert jet["eta"] == pytest.approx(-0.5)
    assert jet["mass"] == pytest.approx(0.13957039, rel=1e-4)
    assert jet["n_constituents"] == 1
    assert list(found.constituents) == [0]
    assert jet["area"] == pytest.approx(np.pi * 0.4**2, rel=0.1)
    assert jet["rho_area"] == 0
    assert jet["wta_delta_r"] == pytest.approx(0, abs=1e-7)
    assert jet["angularity"] == pytest.approx(0, abs=1e-12)
    assert jet["z_g"] == jet["r_g"] == -1
    assert jet["soft_drop_pt"] == pytest.approx(20.0)


def test_twenty_thousand_particles():
    rng = np.random.default_rng(5)
    n = 20_000
    particles = np.stack(
        [rng.exponential(0.6, n) + 1e-3, rng.uniform(-2.5, 2.5, n), rng.uniform(-3.1, 3.1, n)],
        axis=1,
    )
    found = find_jets(events_of(particles), JetDefinition(constituents=True))
    assert len(found.jets) > 40
    assert found.constituents is not None
    assert len(np.unique(found.constituents)) == len(found.constituents)
    assert found.events["rho_all"][0] == pytest.approx(0.6 * n / (5 * 2 * np.pi), rel=0.1)


def test_collinear_particles_are_one_jet_without_width():
    particles = np.tile([[0.5, 1.2, -2.0]], (300, 1))
    found = find_jets(events_of(particles), JetDefinition())
    (jet,) = found.jets
    assert jet["n_constituents"] == 300
    assert jet["pt"] == pytest.approx(150.0, rel=1e-6)
    for name in ("wta_delta_r", "soft_drop_delta_r", "angularity", "r_g"):
        assert jet[name] == pytest.approx(0, abs=1e-6)
    assert jet["z_g"] > 0.1
    assert jet["area"] == pytest.approx(np.pi * 0.4**2, rel=0.1)


def test_twenty_thousand_collinear_particles_do_not_exhaust_the_stack():
    particles = np.tile([[0.01, 0.0, 0.0]], (20_000, 1))
    found = find_jets(events_of(particles), JetDefinition(areas=None, substructure=None))
    assert found.jets["pt"][0] == pytest.approx(200.0, rel=1e-5)
    assert found.jets["n_constituents"][0] == 20_000


def test_collinear_splittings_with_a_negative_exponent_fail_quietly():
    particles = np.tile([[0.5, 1.2, -2.0]], (30, 1))
    definition = JetDefinition(substructure=Substructure(10.0, 0.1, -1.0))
    assert find_jets(events_of(particles), definition).jets["z_g"][0] == -1


@pytest.mark.parametrize("sign", [-1, 1])
def test_particles_at_the_edge_of_a_wide_acceptance(sign):
    found = find_jets(events_of([[8.0, 5.0 * sign, 0.0], [7.0, 0.0, 1.0]]), WIDE)
    edge = found.jets[np.abs(found.jets["eta"]) > 1]
    assert edge["eta"] == pytest.approx(5.0 * sign)
    # Half of the jet's cone lies beyond the ghosts.
    assert edge["area"] == pytest.approx(np.pi * 0.4**2 / 2, rel=0.2)
    assert np.isfinite(edge["energy"]).all()


def test_particles_beyond_the_acceptance_are_left_out():
    event = events_of([[8.0, 5.0, 0.0], [9.0, 0.0, 1.0], [6.0, 2.5, 2.0]])
    found = find_jets(event, JetDefinition(jet_eta_max=6.0, constituents=True))
    assert list(found.jets["pt"]) == pytest.approx([9.0, 6.0])
    assert list(found.constituents) == [1, 2]


def test_weights_come_along():
    events = events_of([[20.0, -0.5, 3.0]])
    weighted = EventBatch(
        events.events, events.particles, events.offsets, np.array([2.5], np.float32)
    )
    found = find_jets(weighted, JetDefinition())
    assert list(found.events["weight"]) == [2.5]
    assert list(found.weights) == [2.5]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"algorithm": "siscone"}, "siscone"),
        ({"radius": 0.0}, "radius"),
        ({"pt_min": 0.0}, "pT"),
        ({"eta_max": 0.3}, "room"),
        ({"eta_max": 0.3, "jet_eta_max": 0.3}, "background"),
        ({"areas": Areas(ghost_area=1.0)}, "ghost area"),
        ({"areas": Areas(rho_definition="mean")}, "mean"),
        ({"areas": Areas(rho_area="round")}, "round"),
    ],
)
def test_a_definition_that_cannot_be_is_refused(options, word):
    with pytest.raises(InputError, match=word):
        JetDefinition(**options)


def test_a_definition_survives_json():
    import json

    definition = JetDefinition(
        "kt",
        0.3,
        jet_eta_max=1.5,
        areas=None,
        substructure=Substructure(angularities=((1.0, 0.5),)),
    )
    stored = json.loads(json.dumps(definition.as_dict()))
    assert JetDefinition.from_dict(stored) == definition


def test_clustering_prints_nothing():
    code = (
        "import numpy as np\n"
        "from hitools.core.batch import EventBatch\n"
        "from hitools.core.observables.jets import JetDefinition, find_jets\n"
        "one, none = np.ones(3, np.float32), np.zeros(1)\n"
        "batch = EventBatch.from_particles(9 * one, one, one, np.array([3]), none, none, none)\n"
        "assert len(find_jets(batch, JetDefinition()).jets) == 1\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert result.stdout == result.stderr == b""
