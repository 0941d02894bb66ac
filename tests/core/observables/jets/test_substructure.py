"""Inside jets: against declustering by hand in FastJet's classic interface, and by formula."""

import math

import numpy as np
import pytest

from hitools.core.observables.jets import JetDefinition, Substructure, find_jets
from hitools.core.observables.jets.clustering import _fastjet, cambridge_trees
from hitools.core.observables.jets.ragged import offsets_of
from tests.core.observables.jets.support import (
    definition,
    event_momenta,
    events_of,
    momenta_of,
    pseudojets,
)

EXPONENTS = ((1.0, 1.0), (1.0, 0.5), (2.0, 0.0), (0.5, 3.0))


def classic_soft_drop(constituents, z_cut, beta, radius):
    """(pT, z_g, R_g) by following has_parents."""
    library = _fastjet()._swig
    sequence = library.ClusterSequence(constituents, definition("cambridge", 1000.0))
    jet = sequence.inclusive_jets()[0]
    while True:
        first, second = library.PseudoJet(), library.PseudoJet()
        if not sequence.has_parents(jet, first, second):
            return jet.pt(), -1.0, -1.0
        z = min(first.pt(), second.pt()) / (first.pt() + second.pt())
        distance = first.delta_R(second)
        if z > z_cut * (distance / radius) ** beta:
            return jet.pt(), z, distance
        jet = first if first.pt() > second.pt() else second


@pytest.mark.parametrize(("z_cut", "beta"), [(0.1, 0.0), (0.2, 1.0), (0.3, -0.5), (0.49, 0.0)])
def test_grooming_agrees_with_undoing_the_clustering_step_by_step(oo, z_cut, beta):
    inside = Substructure(4.0, z_cut, beta, EXPONENTS)
    found = find_jets(oo, JetDefinition(pt_min=4.0, substructure=inside, constituents=True))
    assert found.constituents is not None
    ends = np.cumsum(found.jets["n_constituents"])
    momenta = list(event_momenta(oo))
    for jet, end in list(zip(found.jets, ends, strict=True))[::4]:
        own = found.constituents[end - jet["n_constituents"] : end]
        particles = pseudojets(momenta[jet["event"]][:, own])
        expected = classic_soft_drop(particles, z_cut, beta, 0.4)
        np.testing.assert_allclose(
            [jet["soft_drop_pt"], jet["z_g"], jet["r_g"]], expected, rtol=1e-9, atol=1e-12
        )
        whole = sum(particles[1:], start=particles[0])
        for kappa, alpha in EXPONENTS:
            terms = [
                (particle.pt() / whole.pt()) ** kappa * (particle.delta_R(whole) / 0.4) ** alpha
                for particle in particles
            ]
            column = f"angularity_{kappa:g}_{alpha:g}"
            assert jet[column] == pytest.approx(math.fsum(terms), rel=1e-8)


def test_displacements_are_distances_to_the_jet_axis(oo):
    """With massless particles rapidity and pseudorapidity of an axis made of one are equal."""
    jets = find_jets(oo, JetDefinition(substructure=Substructure(5.0))).jets
    energy, pz = jets["energy"], jets["pt"] * np.sinh(jets["eta"])
    rapidity = 0.5 * np.log((energy + pz) / (energy - pz))
    gap = np.abs(jets["wta_phi"] - jets["phi"])
    expected = np.hypot(jets["wta_rapidity"] - rapidity, np.minimum(gap, 2 * np.pi - gap))
    np.testing.assert_allclose(jets["wta_delta_r"], expected, rtol=1e-6, atol=1e-9)
    # Grooming keeps every jet whose first splitting passes as it is.
    kept = np.isclose(jets["soft_drop_pt"], jets["pt"], rtol=1e-9)
    assert kept.any()
    assert (jets["soft_drop_delta_r"][kept] == 0).all()
    assert (jets["soft_drop_delta_r"][~kept] > 1e-6).all()
    assert jets["wta_delta_r"].max() < 0.5


def test_the_winner_take_all_axis_of_two_particles_is_the_harder_one():
    event = events_of(np.array([[12.0, 0.1, 0.2], [9.0, 0.3, 0.3]]))
    jets = find_jets(event, JetDefinition(particle_mass_gev=0.0)).jets
    assert jets["wta_rapidity"][0] == pytest.approx(0.1, rel=1e-6)
    assert jets["wta_phi"][0] == pytest.approx(0.2, rel=1e-6)
    assert jets["z_g"][0] == pytest.approx(9 / 21, rel=1e-6)
    assert jets["r_g"][0] == pytest.approx(math.hypot(0.2, 0.1), rel=1e-5)


def test_trees_add_up(oo):
    """Every node is the sum of its two children, and each root the sum of all constituents."""
    momenta = momenta_of(oo)
    offsets = offsets_of(oo.n_particles)
    trees = cambridge_trees(momenta, offsets)
    inner = np.flatnonzero(trees.first >= 0)
    assert len(inner) == len(oo.particles) - len(oo)
    children = trees.momenta[:, trees.first[inner]] + trees.momenta[:, trees.second[inner]]
    assert (trees.momenta[:, inner] == children).all()
    totals = np.add.reduceat(momenta, offsets[:-1], axis=1)
    np.testing.assert_allclose(trees.momenta[:, trees.roots], totals, rtol=1e-9, atol=1e-9)
