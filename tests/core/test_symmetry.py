"""Turned and mirrored events are the same collisions, looked at from elsewhere."""

import numpy as np

from hitools.core.symmetry import mirrors_eta, orientations, turned


def test_lengths_stay_and_directions_turn(oo):
    rng = np.random.default_rng(3)
    numbers = rng.uniform(size=len(oo)).astype(np.float32)
    moved = turned(oo, orientations(numbers, mirror_eta=True))
    which = (4 * numbers).astype(int)
    for column in ("sum_pt", "mean_pt", "b", "n_coll", "n_part", "n_particles"):
        np.testing.assert_allclose(moved.event(column), oo.event(column), rtol=1e-6)
    np.testing.assert_allclose(
        np.hypot(moved.event("q_x"), moved.event("q_y")),
        np.hypot(oo.event("q_x"), oo.event("q_y")),
        rtol=1e-3,
        atol=1e-3,
    )
    eta_sign = 1 - 2 * (which % 2)
    np.testing.assert_allclose(moved.event("mean_eta"), eta_sign * oo.event("mean_eta"), atol=1e-6)
    # psi_2 of the mirrored, turned event, modulo pi.
    turn = 2 * np.pi * (4 * numbers.astype(np.float64) - which)
    expected = (1 - 2 * (which // 2)) * oo.event("psi_2").astype(np.float64) + turn
    long = np.hypot(oo.event("q_x"), oo.event("q_y")) > 1
    difference = 2 * (moved.event("psi_2") - expected)[long]
    np.testing.assert_allclose(np.cos(difference), 1, atol=1e-6)


def test_eta_keeps_its_direction_where_nuclei_differ(oo):
    assert [mirrors_eta(system) for system in ("O-O", "Pb-Pb", "p-Pb", "", "-")] == [1, 1, 0, 0, 0]
    numbers = np.full(len(oo), 0.3, np.float32)
    moved = turned(oo, orientations(numbers, mirror_eta=False))
    np.testing.assert_array_equal(moved.particle("eta"), oo.particle("eta"))


def test_all_four_reflections_and_all_directions_occur():
    assert set((4 * np.linspace(0, 1, 100, endpoint=False)).astype(int)) == {0, 1, 2, 3}


def test_azimuths_stay_in_their_interval(oo):
    numbers = np.linspace(0, 1, len(oo), endpoint=False, dtype=np.float32)
    moved = turned(oo, orientations(numbers, mirror_eta=True))
    phi = moved.particle("phi")
    assert phi.min() > -np.pi
    assert phi.max() <= np.float32(np.pi)
    np.testing.assert_array_equal(moved.n_particles, oo.n_particles)
