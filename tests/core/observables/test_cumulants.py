"""Correlations from Q-vectors against loops over all pairs and quadruplets of particles."""

import cmath
from itertools import permutations

import numpy as np
import pytest

from hitools.core.observables.cumulants import correlations, gap_correlations
from hitools.core.observables.qvector import Phases, SubEvents
from tests.core.toys import toy_events

EVENTS = toy_events(6, 3, mean_particles=3)
N_PT = 2


def _inputs(kind: str):
    pt = EVENTS.particle("pt").astype(np.float64)
    weight = {
        "ones": np.ones_like(pt),
        "pt": pt,
        "some are no reference": np.where(pt > 0.4, pt, 0.0),
    }[kind]
    pt_bin = np.where(pt < 0.5, 0, np.where(pt < 1.2, 1, -1))
    return weight, pt_bin


def _loop(n: int, weight, pt_bin, side=None):
    """Numerators and denominators of <2>, <4>, <2'>, <4'> by brute force."""
    phi = EVENTS.particle("phi").astype(float)
    out = {
        name: np.zeros((2, len(EVENTS), *shape))
        for name, shape in (
            ("two", ()),
            ("four", ()),
            ("two_prime", (N_PT,)),
            ("four_prime", (N_PT,)),
        )
    }

    def add(name, where, w, angle):
        out[name][0][where] += w * cmath.exp(1j * n * angle).real
        out[name][1][where] += w

    for e in range(len(EVENTS)):
        members = range(EVENTS.offsets[e], EVENTS.offsets[e + 1])
        for i, j in permutations(members, 2):
            if side is not None and sorted((side[i], side[j])) != [0, 1]:
                continue
            if side is None or side[i] == 0:
                add("two", e, weight[i] * weight[j], phi[i] - phi[j])
            if pt_bin[i] >= 0:
                add("two_prime", (e, pt_bin[i]), weight[j], phi[i] - phi[j])
        for i, j, k, m in permutations(members, 4):
            if side is not None and not (
                side[i] == side[j] and side[k] == side[m] and sorted((side[i], side[k])) == [0, 1]
            ):
                continue
            angle = phi[i] + phi[j] - phi[k] - phi[m]
            if side is None or side[i] == 0:
                add("four", e, weight[i] * weight[j] * weight[k] * weight[m], angle)
            if pt_bin[i] >= 0:
                add("four_prime", (e, pt_bin[i]), weight[j] * weight[k] * weight[m], angle)
    return out


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("kind", ["ones", "pt", "some are no reference"])
def test_no_multiplet_is_missed_and_none_is_counted_twice(n, kind):
    weight, pt_bin = _inputs(kind)
    phases = Phases(EVENTS.particle("phi"))
    found = correlations(EVENTS, phases, n, weight, pt_bin, N_PT)
    for name, expected in _loop(n, weight, pt_bin).items():
        np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-10, atol=1e-8)


@pytest.mark.parametrize("kind", ["ones", "pt", "some are no reference"])
def test_multiplets_across_a_gap(kind):
    weight, pt_bin = _inputs(kind)
    halves = SubEvents.split(EVENTS.particle("eta"), 0.6)
    phases = Phases(EVENTS.particle("phi"))
    found = gap_correlations(EVENTS, phases, 2, weight, pt_bin, N_PT, halves)
    for name, expected in _loop(2, weight, pt_bin, halves.side).items():
        np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-10, atol=1e-8)


def test_ten_thousand_particles_stay_accurate():
    """All particles at one angle: every correlation is 1, whatever the fourth powers reach."""
    from hitools.core.batch import EventBatch

    n = 12_000
    one = EventBatch.from_particles(
        np.ones(n), np.zeros(n), np.full(n, 0.7), np.array([n]), [1.0], [1], [1]
    )
    phases = Phases(one.particle("phi"))
    found = correlations(one, phases, 2, np.ones(n), np.zeros(n, np.int64), 1)
    for name in ("two", "four", "two_prime", "four_prime"):
        numerator, denominator = getattr(found, name)
        assert float((numerator / denominator).squeeze()) == pytest.approx(1.0, rel=1e-10), name
    assert found.four[1][0] == pytest.approx(n * (n - 1) * (n - 2) * (n - 3), rel=1e-12)
