"""Distributions: bins of the reference, halves that agree, defects that show."""

import dataclasses

import numpy as np
import pytest

from hitools.core.batch import EventBatch
from hitools.core.compare.binning import VARIABLES, Binning, values_of
from hitools.core.compare.closure import ClosureAccumulator, ClosureResult, parse_pair
from hitools.core.errors import InputError
from tests.core.toys import toy_events

REFERENCE = toy_events(3000, 1, weighted=True)
SAMPLE = toy_events(2000, 2, weighted=True)


def compare(reference: EventBatch, sample: EventBatch | None, **options) -> ClosureResult:
    accumulator = ClosureAccumulator(**options)
    for batch in reference.split(20_000):
        accumulator.add_reference(batch)
    for batch in [] if sample is None else sample.split(30_000):
        accumulator.add_sample(batch)
    return accumulator.result()


def by_name(result: ClosureResult) -> dict:
    return {q.name: q for q in result.quantities()}


def test_samples_of_one_parent_agree_in_every_variable():
    found = by_name(compare(REFERENCE, SAMPLE))
    for name in VARIABLES:
        chi2 = found[f"closure.{name}.chi2_ndf"]
        assert chi2.value < 1 + 4 * chi2.error, name
        assert chi2.floor == pytest.approx(1, abs=0.35), name
        separation = found[f"closure.{name}.separation"]
        assert separation.value < 4 * separation.floor, name
    for pair in ("eta:pt", "phi:pt", "n_particles:sum_pt"):
        median = found[f"closure.{pair}.median_95"]
        assert abs(median.value - median.floor) < 0.03 + 4 * median.error, pair


def test_histograms_are_those_of_numpy():
    result = compare(REFERENCE, SAMPLE)
    for variable in result.variables:
        name, edges = variable.binning.name, variable.binning.edges.astype(np.float32)
        for events, density in (
            (REFERENCE, variable.comparison.reference),
            (SAMPLE, variable.comparison.sample),
        ):
            values = values_of(events, name)
            weights = events.weights_or_ones.astype(float)
            if len(values) != len(weights):
                weights = weights[events.event_of_particle]
            counts = np.histogram(values, edges, weights=weights)[0]
            expected = counts / weights.sum() / np.diff(variable.binning.edges)
            np.testing.assert_allclose(density, expected, rtol=1e-6, atol=1e-12, err_msg=name)


def test_maps_are_those_of_numpy():
    result = compare(REFERENCE, SAMPLE, pairs=(("n_particles", "b"), ("eta", "pt")))
    for (x, y), found in result.maps.items():
        values = [values_of(SAMPLE, name).astype(float) for name in (x, y)]
        weights = SAMPLE.weights_or_ones.astype(float)
        if len(values[0]) != len(weights):
            weights = weights[SAMPLE.event_of_particle]
        edges = [e.astype(np.float32).astype(float) for e in (found.x_edges, found.y_edges)]
        counts = np.histogram2d(*values, edges, weights=weights)[0]
        np.testing.assert_allclose(found.sample, counts / counts.sum(), atol=1e-12)


@pytest.mark.parametrize("n_bins", [7, 8])
def test_map_bins_are_pairs_of_bins(n_bins):
    edges = np.arange(n_bins + 1.0)
    binning = Binning("b", edges)
    halved = binning.halved()
    assert set(halved.edges) <= set(edges)
    assert halved.edges[[0, -1]].tolist() == [0, n_bins]
    for x in np.arange(-0.5, n_bins + 1):
        fine = np.searchsorted(edges, [x], side="right")
        coarse = np.searchsorted(halved.edges, [x], side="right")
        assert binning.halved_index(fine) == coarse


def test_pt_scaled_by_two_percent_and_a_cut_tail_show():
    events = toy_events(3000, 5)
    particles = events.particles.copy()
    particles[:, 3] *= np.float32(1.02)
    scaled = dataclasses.replace(events, particles=particles).recomputed()
    found = by_name(compare(REFERENCE, scaled))["closure.pt.chi2_ndf"]
    assert found.value > 1 + 4 * found.error
    assert found.value > 3 * found.floor
    particles = events.particles.copy()
    particles[:, 3] = np.minimum(particles[:, 3], 4.0)
    cut = dataclasses.replace(events, particles=particles).recomputed()
    found = by_name(compare(REFERENCE, cut))["closure.pt.chi2_ndf"]
    assert found.value > 1 + 4 * found.error


def test_the_sample_does_not_move_the_bins():
    wide = toy_events(500, 3)
    particles = wide.particles.copy()
    particles[:, 3] *= np.float32(100)
    wide = dataclasses.replace(wide, particles=particles)
    one, other = compare(REFERENCE, SAMPLE), compare(REFERENCE, wide)
    for a, b in zip(one.variables, other.variables, strict=True):
        np.testing.assert_array_equal(a.binning.edges, b.binning.edges)


def test_bins_know_angles_counts_and_the_log_of_pt():
    binnings = {v.binning.name: v.binning for v in compare(REFERENCE, None).variables}
    assert binnings["phi"].edges[[0, -1]] == pytest.approx([-np.pi, np.pi])
    assert binnings["psi_2"].edges[[0, -1]] == pytest.approx([-np.pi / 2, np.pi / 2])
    assert np.all(binnings["n_coll"].edges % 1 == 0.5)
    assert np.ptp(np.diff(np.log(binnings["pt"].edges))) < 1e-9
    assert "logarithmic" in str(binnings["pt"])
    assert "GeV/c" in str(binnings["pt"])


def test_one_input_is_compared_half_against_half():
    found = by_name(compare(REFERENCE, None))
    for name in VARIABLES:
        chi2 = found[f"closure.{name}.chi2_ndf"]
        assert chi2.value < 1 + 4 * chi2.error
        assert np.isnan(chi2.floor)


@pytest.mark.parametrize("text", ["pt", "pt:pt", "pt:b", "b:nothing", "eta:pt:phi"])
def test_pairs_that_make_no_map_are_refused(text):
    with pytest.raises(InputError):
        parse_pair(text)


def test_a_sample_before_its_reference_is_an_error():
    with pytest.raises(ValueError, match="reference"):
        ClosureAccumulator().add_sample(SAMPLE)
