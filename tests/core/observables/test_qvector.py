"""Phases, sub-events and planes against plain loops."""

import cmath

import numpy as np
import pytest

from hitools.core.observables.qvector import Phases, SubEvents, event_planes, event_sums
from tests.core.toys import toy_events


def test_phases_of_every_harmonic():
    phi = np.random.default_rng(0).uniform(-np.pi, np.pi, 50).astype(np.float32)
    phases = Phases(phi)
    for n in (1, 2, 3, 4, 5, 6, 8):
        np.testing.assert_allclose(phases[n], np.exp(1j * n * phi.astype(np.float64)), atol=1e-14)


def test_stored_q_vector_is_the_sum_of_second_phases():
    events = toy_events(20)
    q = event_sums(Phases(events.particle("phi"))[2] * events.particle("pt"), events.offsets)
    np.testing.assert_allclose(q.real, events.event("q_x"), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(np.angle(q) / 2, events.event("psi_2"), atol=1e-5)


def test_a_gap_leaves_out_the_middle_and_keeps_its_edges_out():
    eta = np.array([-2, -0.5, -0.4, 0, 0.5, 0.6], np.float32)
    assert SubEvents.split(eta, 1.0).side.tolist() == [0, -1, -1, -1, -1, 1]
    assert SubEvents.split(eta, 0.0).side.tolist() == [0, 0, 0, -1, 1, 1]


def test_planes_of_the_halves_agree_with_a_loop():
    events = toy_events(10, mean_particles=8)
    pt, eta, phi = (events.particle(name).astype(float) for name in ("pt", "eta", "phi"))
    planes = event_planes(events, Phases(phi), 3, SubEvents.split(eta, 1.0), pt)
    for k in range(10):
        q = [0j, 0j]
        for i in range(events.offsets[k], events.offsets[k + 1]):
            if abs(eta[i]) > 0.5:
                q[int(eta[i] > 0)] += pt[i] * cmath.exp(3j * phi[i])
        assert planes.defined[k] == (q[0] != 0 and q[1] != 0)
        if planes.defined[k]:
            expected = cmath.cos(cmath.phase(q[0]) - cmath.phase(q[1])).real
            assert planes.resolution[k] == pytest.approx(expected, abs=1e-12)
        else:
            assert planes.resolution[k] == 0
