"""The numbers of C++ FastJet come out, and those of FastJet's classic interface."""

import numpy as np
import pytest

from hitools.core.observables.jets import JetBatch, JetDefinition, Substructure, find_jets
from tests.core.observables.jets.support import classic_jets, event_momenta, reference

COLUMNS = {
    "pt": "pt",
    "eta": "eta",
    "phi": "phi",
    "wta_rapidity": "wta_rapidity",
    "wta_phi": "wta_phi",
    "angularity": "angularity",
    "soft_drop_pt": "softdrop_pt",
    "soft_drop_eta": "softdrop_eta",
    "soft_drop_phi": "softdrop_phi",
    "z_g": "softdrop_zg",
    "r_g": "softdrop_rg",
}
EVERYWHERE = JetDefinition(jet_eta_max=10.0, substructure=Substructure(pt_min=5.0))


@pytest.mark.parametrize("system", ["oo", "pbpb"])
def test_every_column_agrees_with_cpp_fastjet_to_one_in_a_million(system):
    events, expected = reference(system)
    found = find_jets(events, EVERYWHERE)
    assert (found.jets["event"] == expected["event"]).all()
    assert (found.rank == expected["jet"]).all()
    assert (found.jets["n_constituents"] == expected["n_constituents"]).all()
    for ours, theirs in COLUMNS.items():
        np.testing.assert_allclose(found.jets[ours], expected[theirs], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("system", ["oo", "pbpb"])
def test_mean_area_is_that_of_fastjets_own_ghosts_within_one_percent(system):
    events, expected = reference(system)
    areas = find_jets(events, EVERYWHERE).jets["area"]
    # Single areas differ by the places of the ghosts: 0.02 at the jet's edge.
    assert abs(areas - expected["area"]).max() < 0.15
    error = np.std(areas - expected["area"]) / np.sqrt(len(areas))
    assert abs(areas.mean() - expected["area"].mean()) < 0.01 * areas.mean() + 2 * error
    assert error < 0.01 * areas.mean()


@pytest.mark.parametrize("algorithm", ["antikt", "kt", "cambridge"])
@pytest.mark.parametrize("radius", [0.2, 0.7])
def test_jets_and_their_constituents_are_those_of_the_classic_interface(oo, algorithm, radius):
    definition = JetDefinition(
        algorithm,
        radius,
        pt_min=2.0,
        jet_eta_max=9.0,
        areas=None,
        substructure=None,
        constituents=True,
    )
    found = find_jets(oo, definition)
    assert found.constituents is not None
    ends = np.cumsum(found.jets["n_constituents"])
    row = 0
    for momenta in event_momenta(oo[:30]):
        jets, _sequence = classic_jets(momenta, algorithm, radius, 2.0)
        for jet in jets:
            ours = found.jets[row]
            np.testing.assert_allclose(
                [ours["pt"], ours["eta"], ours["phi"], ours["energy"], ours["mass"]],
                [jet.pt(), jet.eta(), jet.phi_std(), jet.e(), jet.m()],
                rtol=1e-9,
            )
            indices = sorted(particle.user_index() for particle in jet.constituents())
            assert list(found.constituents[ends[row] - len(indices) : ends[row]]) == indices
            row += 1
    assert row == np.searchsorted(found.jets["event"], 30)


def test_massless_particles_have_the_energy_of_their_momentum(oo):
    oo = oo[:50]
    found = find_jets(oo, JetDefinition(particle_mass_gev=0.0, constituents=True))
    heavy = find_jets(oo, JetDefinition())
    assert found.constituents is not None
    first = oo[int(found.jets["event"][0]) : int(found.jets["event"][0]) + 1]
    own = found.constituents[: found.jets["n_constituents"][0]]
    energy = first.particle("pt")[own] * np.cosh(first.particle("eta")[own].astype(float))
    assert found.jets["energy"][0] == pytest.approx(energy.sum(), rel=1e-6)
    assert found.jets["mass"].mean() < heavy.jets["mass"].mean()


def test_jets_lie_in_the_acceptance_and_above_the_threshold(oo):
    oo = oo[:50]
    every = find_jets(oo, JetDefinition(jet_eta_max=9.0, pt_min=3.0))
    default = find_jets(oo, JetDefinition(pt_min=3.0))
    inside = abs(every.jets["eta"]) < 2.5 - 0.4
    assert 0 < inside.sum() < len(inside)
    assert (default.jets["pt"] == every.jets["pt"][inside]).all()
    assert every.jets["pt"].min() >= 3.0
    assert (every.events["n_jets"] == np.bincount(every.jets["event"], minlength=len(oo))).all()


def test_what_no_column_asks_for_is_not_there(oo):
    oo = oo[:50]
    bare = find_jets(oo, JetDefinition(areas=None, substructure=None))
    assert bare.jets.dtype.names == (
        "event", "pt", "eta", "phi", "energy", "mass", "n_constituents",
    )  # fmt: skip
    assert bare.events.dtype.names == ("weight", "n_jets")
    assert bare.constituents is None
    full = find_jets(oo, JetDefinition())
    assert (full.jets["pt"] == bare.jets["pt"]).all()


def test_substructure_is_for_jets_above_its_threshold_and_undefined_below(oo):
    oo = oo[:50]
    jets = find_jets(oo, JetDefinition(substructure=Substructure(pt_min=10.0))).jets
    hard = jets["pt"] >= 10.0
    assert 0 < hard.sum() < len(jets)
    for name in ("wta_delta_r", "soft_drop_delta_r", "z_g", "r_g", "angularity"):
        assert np.isfinite(jets[name][hard]).all()
        assert np.isnan(jets[name][~hard]).all()


def test_batches_join_and_cut_without_changing_their_jets(oo):
    oo = oo[:50]
    definition = JetDefinition(constituents=True)
    whole = find_jets(oo, definition)
    joined = JetBatch.concatenate([whole[:7], whole[7:8], whole[8:]])
    assert (joined.jets["event"] == whole.jets["event"]).all()
    assert (joined.jets["pt"] == whole.jets["pt"]).all()
    assert (joined.events == whole.events).all()
    assert joined.constituents is not None
    assert (joined.constituents == whole.constituents).all()
    cut = whole[20:40]
    assert cut.jets["event"].min() >= 0
    assert cut.jets["event"].max() < 20
    assert cut.constituents is not None
    assert len(cut.constituents) == cut.jets["n_constituents"].sum()
