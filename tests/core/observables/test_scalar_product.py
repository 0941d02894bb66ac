"""The scalar-product sums against the paper's formula, particle by particle."""

import math

import numpy as np
import pytest

from hitools.core.observables.qvector import Phases, SubEvents
from hitools.core.observables.scalar_product import scalar_product_sums
from tests.core.toys import toy_events


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("estimator", ["plane", "product"])
def test_sums_are_those_of_a_loop_over_particles(n, estimator):
    events = toy_events(15, 2, mean_particles=12, flow={2: 0.1})
    pt, eta, phi = (events.particle(name).astype(float) for name in ("pt", "eta", "phi"))
    pt_bin = np.digitize(pt, [0.3, 0.8, 3.0]) - 1
    pt_bin[pt_bin == 2] = -1
    sums = scalar_product_sums(
        events, Phases(phi), n, pt_bin, 2, SubEvents.split(eta, 1.0), estimator
    )
    for e in range(len(events)):
        members = range(events.offsets[e], events.offsets[e + 1])
        x, y = np.zeros(2), np.zeros(2)
        for i in members:
            if abs(eta[i]) > 0.5:
                x[int(eta[i] > 0)] += pt[i] * math.cos(n * phi[i])
                y[int(eta[i] > 0)] += pt[i] * math.sin(n * phi[i])
        if not np.all(np.hypot(x, y) > 0):
            assert sums.defined[e] == 0
            assert not sums.count[e].any()
            continue
        psi = np.arctan2(y, x) / n
        length = np.hypot(x, y) if estimator == "product" else np.ones(2)
        numerator, count = np.zeros(2), np.zeros(2)
        for i in members:
            if abs(eta[i]) > 0.5 and pt_bin[i] >= 0:
                other = 0 if eta[i] > 0 else 1
                numerator[pt_bin[i]] += length[other] * math.cos(n * (phi[i] - psi[other]))
                count[pt_bin[i]] += 1
        np.testing.assert_allclose(sums.numerator[e], numerator, atol=1e-9)
        np.testing.assert_array_equal(sums.count[e], count)
        cosine = math.cos(n * (psi[0] - psi[1]))
        assert sums.resolution[e] == pytest.approx(cosine, abs=1e-9)
        assert sums.reference[e] == pytest.approx(cosine * length[0] * length[1], abs=1e-9)
