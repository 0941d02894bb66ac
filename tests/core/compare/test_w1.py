"""W1 of all variables: exact against scipy, bounds against exact, floors against chance."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from hitools.core.batch import EventBatch
from hitools.core.compare.w1 import W1Accumulator, W1Result
from hitools.core.features import COUNT_COLUMNS, EVENT_COLUMNS
from tests.core.toys import toy_events


def compare(reference: EventBatch, sample: EventBatch | None, **options) -> W1Result:
    accumulator = W1Accumulator(**options)
    for batch in reference.split(5000):
        accumulator.add_reference(batch)
    for batch in [] if sample is None else sample.split(7000):
        accumulator.add_sample(batch)
    return accumulator.result()


def by_name(result: W1Result) -> dict:
    return {d.name: d for d in result.distances}


def scaled_pt(events: EventBatch, factor: float) -> EventBatch:
    particles = events.particles.copy()
    particles[:, 3] *= np.float32(factor)
    return dataclasses.replace(events, particles=particles).recomputed()


@pytest.mark.parametrize("weighted", [False, True])
def test_every_distance_is_the_one_of_scipy(weighted):
    p, q = toy_events(400, 1, weighted=weighted), toy_events(300, 2, weighted=weighted)
    found = by_name(compare(p, q))
    wp, wq = p.weights_or_ones, q.weights_or_ones
    for name in EVENT_COLUMNS:
        expected = wasserstein_distance(p.event(name), q.event(name), wp, wq)
        assert found[name].value == pytest.approx(expected, rel=1e-5), name
    pairs = {name: (p.particle(name), q.particle(name)) for name in ("pt", "eta", "pt_rel")}
    pairs["sin_phi"] = tuple(np.sin(x.particle("phi")) for x in (p, q))
    pairs["cos_phi"] = tuple(np.cos(x.particle("phi")) for x in (p, q))
    vp, vq = wp[p.event_of_particle], wq[q.event_of_particle]
    for name, (x, y) in pairs.items():
        expected = wasserstein_distance(x, y, vp, vq)
        assert found[name].value == pytest.approx(expected, rel=1e-5), name
        assert found[name].bound == 0
    mean = np.mean([found[name].value for name in EVENT_COLUMNS])
    assert found["evt"].value == pytest.approx(mean, rel=1e-12)
    assert found["phi"].value == pytest.approx(
        (found["sin_phi"].value + found["cos_phi"].value) / 2, rel=1e-12
    )
    mean = np.mean([found[name].value for name in ("pt", "eta", "phi")])
    assert found["part"].value == pytest.approx(mean, rel=1e-12)


def test_scaled_distances_are_in_standard_deviations_of_the_reference():
    p, q = toy_events(400, 1, weighted=True), toy_events(300, 2)
    found = by_name(compare(p, q))
    for name, x in (("b", p.event("b")), ("n_particles", p.event("n_particles"))):
        mean = np.average(x, weights=p.weights)
        sd = np.sqrt(np.average((x - mean) ** 2, weights=p.weights))
        assert found[name].scaled[0] == pytest.approx(found[name].value / sd, rel=1e-5)
    assert found["evt"].scaled[0] == pytest.approx(
        np.mean([found[name].scaled[0] for name in EVENT_COLUMNS])
    )


def test_generated_counts_are_rounded_before_they_are_compared():
    p = toy_events(300, 3)
    events = p.events.copy()
    for name in COUNT_COLUMNS:
        column = EVENT_COLUMNS.index(name)
        events[:, column] += np.random.default_rng(0).uniform(-0.4, 0.4, len(p))
    found = by_name(compare(p, dataclasses.replace(p, events=events)))
    assert all(found[name].value == 0 for name in COUNT_COLUMNS)


@pytest.mark.parametrize("phi", ["sincos", "circle"])
@pytest.mark.parametrize("weighted", [False, True])
def test_in_fixed_memory_the_bound_holds_and_is_small(phi, weighted):
    p, q = toy_events(600, 1, weighted=weighted), toy_events(500, 2, weighted=weighted)
    q = scaled_pt(q, 1.02)
    exact = by_name(compare(p, q, phi=phi))
    for memory in (100_000, 1000):  # events still held, nothing held
        result = compare(p, q, phi=phi, memory=memory)
        assert not result.exact
        for name, estimate in by_name(result).items():
            difference = abs(estimate.value - exact[name].value)
            assert difference <= estimate.bound + 1e-7 * estimate.value, name
            if memory == 100_000 or name not in (*EVENT_COLUMNS, "evt"):
                assert estimate.bound < 0.1 * exact[name].floor, name


def test_values_far_outside_the_first_ones_stay_within_the_bound():
    p = toy_events(200, 1)
    late = scaled_pt(toy_events(50, 5), 5000.0)
    accumulators = W1Accumulator(), W1Accumulator(memory=20_000)
    for accumulator in accumulators:
        accumulator.add_reference(p)
        accumulator.add_sample(late)
        accumulator.add_reference(late)
        accumulator.add_sample(p)
        accumulator.add_sample(p)
    exact, estimate = (by_name(a.result())["pt"] for a in accumulators)
    assert abs(estimate.value - exact.value) <= estimate.bound + 1e-9


def test_the_result_does_not_depend_on_the_order_of_the_two_inputs():
    p, q = toy_events(100, 1), toy_events(100, 2)
    one = compare(p, q)
    accumulator = W1Accumulator()
    accumulator.add_sample(q)
    accumulator.add_reference(p)
    other = accumulator.result()
    for a, b in zip(one.distances, other.distances, strict=True):
        assert a.value == pytest.approx(b.value, rel=1e-9)
        assert a.error == pytest.approx(b.error, rel=1e-6)


def test_the_floor_is_what_chance_gives_at_these_sizes():
    """Distances of independent samples of one parent, 300 events each, against the floor."""
    parent = by_name(compare(toy_events(1500, 10), toy_events(300, 11)))
    chance = [by_name(compare(toy_events(1500, 20 + k), toy_events(300, 60 + k))) for k in range(5)]
    for name in ("pt", "b", "evt", "part", "psi_2"):
        expected = np.mean([found[name].value for found in chance])
        assert parent[name].floor == pytest.approx(expected, rel=0.5), name


def test_pt_scaled_by_two_percent_stands_out_and_halves_do_not():
    reference = toy_events(3000, 1)
    wrong = by_name(compare(reference, scaled_pt(toy_events(3000, 2), 1.02)))
    assert wrong["pt"].value > 3 * wrong["pt"].floor
    right = by_name(compare(reference, toy_events(3000, 3)))
    for name, distance in right.items():
        assert distance.value < 3 * distance.floor + 2 * distance.error, name


def test_one_input_is_compared_with_itself_half_by_half():
    result = compare(toy_events(500, 1), None)
    found = by_name(result)
    halves = by_name(compare(toy_events(500, 1)[:250], toy_events(500, 1)[250:]))
    for name in ("b", "pt", "evt"):
        assert found[name].value == pytest.approx(halves[name].value, rel=1.0)
        assert np.isnan(found[name].floor)


def test_quantities_have_unique_names_and_units():
    quantities = compare(toy_events(50, 1), toy_events(50, 2)).quantities()
    names = [q.name for q in quantities]
    assert len(set(names)) == len(names)
    assert {"w1.pt", "w1.evt", "w1.part", "w1_sd.pt", "w1.phi", "w1_sd.n_coll"} <= set(names)
    assert {q.unit for q in quantities if q.name == "w1.pt"} == {"GeV/c"}


def test_a_variable_that_is_constant_in_the_reference_has_no_scale():
    p, q = toy_events(50, 1), toy_events(50, 2)
    events = p.events.copy()
    events[:, EVENT_COLUMNS.index("b")] = 0  # as in files from sources that know no geometry
    found = by_name(compare(dataclasses.replace(p, events=events), q))
    assert found["b"].value > 0
    assert np.isnan(found["b"].scaled[0])


def test_no_particles_is_an_error():
    with pytest.raises(ValueError, match="no particles"):
        W1Accumulator().result()
