"""Areas and background: the same as FastJet's on the same ghosts, and reproducible."""

import numpy as np
import pytest

from hitools.core.batch import EventBatch
from hitools.core.observables.jets import Areas, JetDefinition, find_jets
from hitools.core.observables.jets import finder as finder_module
from hitools.core.observables.jets.clustering import _fastjet
from hitools.core.observables.jets.ghosts import GhostGrid, event_generator
from tests.core.observables.jets.support import (
    definition,
    event_momenta,
    events_of,
    pseudojets,
    reference,
)

DEFAULT = JetDefinition(substructure=None)


def own_ghosts(batch: EventBatch, grid: GhostGrid, seed: int = 1):
    """The ghosts of a batch of one event."""
    columns = [batch.particle(name) for name in ("pt", "eta", "phi")]
    return grid.draw(event_generator(seed, *columns))


# The grid ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("eta_max", "area"), [(2.5, 0.01), (0.9, 0.005), (5.0, 0.02)])
def test_ghosts_fill_the_acceptance_evenly(eta_max, area):
    grid = GhostGrid(eta_max, area)
    assert len(grid) * grid.ghost_area == pytest.approx(2 * eta_max * 2 * np.pi)
    assert 0.9 * area < grid.ghost_area <= area
    px, py, pz, energy = grid.draw(np.random.default_rng(1))
    rapidity = np.arctanh(pz / energy)
    assert abs(rapidity).max() < eta_max
    row = np.floor((rapidity + eta_max) / grid.cell_size[0])
    column = np.floor(np.arctan2(py, px) % (2 * np.pi) / grid.cell_size[1])
    assert len({*zip(row, column, strict=True)}) == len(grid)


def test_cells_near_an_axis_are_all_those_within_reach():
    grid = GhostGrid(2.5, 0.01)
    axes = np.array([[0.31, 3.12], [2.45, -0.01], [-1.7, -3.14], [9.0, 0.0]])
    near = grid.near(axes[:, 0], axes[:, 1], 0.8)
    px, py, pz, energy = grid.draw(np.random.default_rng(2))
    y, phi = np.arctanh(pz / energy), np.arctan2(py, px)
    gap = np.abs(phi[:, None] - axes[:, 1])
    distance = np.hypot(y[:, None] - axes[:, 0], np.minimum(gap, 2 * np.pi - gap)).min(axis=1)
    assert near[distance <= 0.8].all()
    assert not near[distance > 0.8 + 0.3].any()


# The same ghosts through FastJet's own classes ----------------------------------------------


@pytest.mark.parametrize("algorithm", ["antikt", "kt", "cambridge"])
def test_areas_are_those_of_fastjet_with_the_same_ghosts(oo, algorithm):
    library = _fastjet()._swig
    grid = GhostGrid(2.5, 0.01)
    found = find_jets(oo, JetDefinition(algorithm, pt_min=3.0, substructure=None)).jets
    for k, momenta in enumerate(event_momenta(oo[:12])):
        sequence = library.ClusterSequenceActiveAreaExplicitGhosts(
            pseudojets(momenta),
            definition(algorithm, 0.4),
            pseudojets(own_ghosts(oo[k : k + 1], grid)),
            grid.ghost_area,
        )
        jets = library.sorted_by_pt(sequence.inclusive_jets(3.0))
        expected = [jet.area() for jet in jets if abs(jet.eta()) < 2.1]
        np.testing.assert_allclose(found["area"][found["event"] == k], expected, rtol=1e-9)


@pytest.mark.parametrize(("kind", "four_vector"), [("4vector", True), ("scalar", False)])
@pytest.mark.parametrize("system", ["oo", "pbpb"])
def test_rho_is_that_of_fastjets_estimator_with_the_same_ghosts(system, kind, four_vector):
    library = _fastjet()._swig
    events = reference(system).events[:12]
    grid = GhostGrid(2.5, 0.01)
    rho = find_jets(events, JetDefinition(areas=Areas(rho_area=kind), substructure=None)).events
    accepted = library.SelectorAbsEtaMax(2.1) * ~library.SelectorNHardest(2)
    for k, momenta in enumerate(event_momenta(events)):
        sequence = library.ClusterSequenceActiveAreaExplicitGhosts(
            pseudojets(momenta),
            definition("kt", 0.4),
            pseudojets(own_ghosts(events[k : k + 1], grid)),
            grid.ghost_area,
        )
        estimator = library.JetMedianBackgroundEstimator(accepted)
        estimator.set_use_area_4vector(four_vector)
        estimator.set_cluster_sequence(sequence)
        assert rho["rho_all"][k] == pytest.approx(estimator.rho(), rel=1e-9, abs=1e-90)
        assert rho["rho_occupied"][k] == pytest.approx(
            _occupied(sequence, four_vector, library), rel=1e-9
        )


def _occupied(sequence, four_vector, library):
    """Jet by jet: the median over jets with particles, times the share of area they cover."""
    hardest = {jet.cluster_hist_index() for jet in
               library.sorted_by_pt(sequence.inclusive_jets())[:2]}  # fmt: skip
    densities, covered, total = [], 0.0, 0.0
    for jet in sequence.inclusive_jets():
        if abs(jet.eta()) >= 2.1:
            continue
        total += jet.area()
        if jet.is_pure_ghost():
            continue
        covered += jet.area()
        if jet.cluster_hist_index() not in hardest and jet.area() > 0:
            below = jet.area_4vector().perp() if four_vector else jet.area()
            densities.append(jet.pt() / below)
    return np.median(densities) * covered / total if densities else 0.0


def test_rho_agrees_with_fastjets_own_ghosts_within_the_noise_of_ghosts(oo):
    """Ten draws of ghosts each: the means agree within their errors, event by event."""
    library = _fastjet()._swig
    accepted = library.SelectorAbsEtaMax(2.1) * ~library.SelectorNHardest(2)
    spec = library.GhostedAreaSpec(2.5, 1, 0.01)
    area = library.AreaDefinition(library.active_area_explicit_ghosts, spec)
    crowded = oo.take(np.argsort(-oo.n_particles)[:12])
    ours = np.array(
        [
            find_jets(crowded, JetDefinition(seed=seed, substructure=None)).events["rho_all"]
            for seed in range(10)
        ]
    )
    theirs = np.empty_like(ours)
    for k, momenta in enumerate(event_momenta(crowded)):
        particles = pseudojets(momenta)
        for draw in range(10):
            estimator = library.JetMedianBackgroundEstimator(accepted, definition("kt", 0.4), area)
            estimator.set_particles(particles)
            theirs[draw, k] = estimator.rho()
    noise = np.sqrt((ours.var(axis=0, ddof=1) + theirs.var(axis=0, ddof=1)) / 10)
    pull = (ours.mean(axis=0) - theirs.mean(axis=0)) / noise
    assert abs(pull).max() < 4.5
    assert np.mean(pull**2) < 2.5


# Definitions -------------------------------------------------------------------------------


def test_subtraction_uses_the_rho_that_the_definition_names(oo):
    oo = oo[:50]
    for name in ("all", "occupied"):
        found = find_jets(oo, JetDefinition(areas=Areas(rho_definition=name), substructure=None))
        rho = found.events[f"rho_{name}"]
        assert (found.events["rho"] == rho).all()
        expected = rho[found.jets["event"]] * found.jets["area"]
        np.testing.assert_allclose(found.jets["rho_area"], expected)
        np.testing.assert_allclose(found.jets["pt_subtracted"], found.jets["pt"] - expected)


def test_empty_jets_make_rho_zero_in_sparse_events_unless_corrected_for(oo):
    rho = find_jets(oo, DEFAULT).events
    sparse = oo.n_particles < 60
    assert (rho["rho_all"][sparse] == 0).all()
    assert (rho["rho_occupied"][oo.n_particles > 20] > 0).all()


def test_rho_of_a_uniform_background_is_its_density():
    """Up to the few percent by which a median lies below a mean, and jets at the edge."""
    rng = np.random.default_rng(3)
    n = 15_000
    columns = [np.full(n, 0.5), rng.uniform(-2.5, 2.5, n), rng.uniform(-np.pi, np.pi, n)]
    rho = find_jets(events_of(np.stack(columns, axis=1)), DEFAULT).events
    density = 0.5 * n / (5 * 2 * np.pi)
    assert rho["rho_all"][0] == pytest.approx(density, rel=0.03)
    assert rho["rho_occupied"][0] == pytest.approx(density, rel=0.03)


# Reproducibility ---------------------------------------------------------------------------


def same(a, b):
    """Bit for bit the same jets."""
    return a.jets.tobytes() == b.jets.tobytes() and a.events.tobytes() == b.events.tobytes()


def test_an_events_areas_do_not_depend_on_what_was_clustered_before(oo):
    oo = oo[:60]
    whole = find_jets(oo, JetDefinition())
    find_jets(oo[20:], JetDefinition())
    assert same(whole[50:53], find_jets(oo[50:53], JetDefinition()))
    assert same(whole[52:53], find_jets(oo[52:53], JetDefinition()))


def test_an_event_keeps_its_areas_when_its_file_is_shuffled(oo):
    oo = oo[:60]
    order = np.random.default_rng(4).permutation(len(oo))
    shuffled = find_jets(oo.take(order), JetDefinition())
    whole = find_jets(oo, JetDefinition())
    for k in (0, 17, len(oo) - 1):
        assert same(shuffled[k : k + 1], whole[order[k] : order[k] + 1])


def test_the_seed_changes_the_areas_and_nothing_else(oo):
    oo = oo[:40]
    one, other = find_jets(oo, JetDefinition(seed=1)), find_jets(oo, JetDefinition(seed=2))
    assert (one.jets["pt"] == other.jets["pt"]).all()
    assert (one.jets["area"] != other.jets["area"]).mean() > 0.5


def test_ghosts_near_the_jets_give_the_areas_that_all_ghosts_give(oo, monkeypatch):
    oo = oo[:60]
    sparse = find_jets(oo, JetDefinition(pt_min=3.0))
    monkeypatch.setattr(finder_module, "_CROWDED", 0)
    assert same(sparse, find_jets(oo, JetDefinition(pt_min=3.0)))
