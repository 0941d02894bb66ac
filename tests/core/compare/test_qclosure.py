"""Closure of events whose vectors are known to differ from their particles."""

import dataclasses

import numpy as np
import pytest

from hitools.core.batch import EventBatch
from hitools.core.compare.qclosure import EventBins, QClosureAccumulator, QClosureResult
from hitools.core.errors import InputError
from hitools.core.features import EVENT_INDEX
from tests.core.toys import toy_events


def close(sample: EventBatch, reference: EventBatch | None = None, bins=None) -> QClosureResult:
    accumulator = QClosureAccumulator(bins and EventBins.parse(bins))
    for batch in sample.split(9000):
        accumulator.add_sample(batch)
    for batch in [] if reference is None else reference.split(7000):
        accumulator.add_reference(batch)
    return accumulator.result()


def by_name(result: QClosureResult) -> dict:
    return {q.name: q for q in result.quantities()}


def smeared(events: EventBatch, sigma: float, seed: int = 0) -> EventBatch:
    """Stored vectors that are off by a Gaussian, psi_2 following."""
    rng = np.random.default_rng(seed)
    vectors = events.events.copy()
    for column in ("q_x", "q_y"):
        vectors[:, EVENT_INDEX[column]] += rng.normal(0, sigma, len(events))
    q_x, q_y = vectors[:, EVENT_INDEX["q_x"]], vectors[:, EVENT_INDEX["q_y"]]
    vectors[:, EVENT_INDEX["psi_2"]] = np.arctan2(q_y, q_x) / 2
    return dataclasses.replace(events, events=vectors)


@pytest.mark.parametrize("weighted", [False, True])
def test_every_number_agrees_with_numpy(weighted):
    events = toy_events(800, 1, weighted=weighted)
    sample = smeared(events, 1.5)
    found = by_name(close(sample))
    w = sample.weights_or_ones.astype(float)
    for name, column in (("x", "q_x"), ("y", "q_y")):
        stored, true = sample.event(column).astype(float), events.event(column).astype(float)
        covariance = np.cov(stored, true, aweights=w, ddof=0)
        expected = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
        assert found[f"q.correlation.{name}"].value == pytest.approx(expected, rel=1e-5)
        d = true - stored
        mean = np.average(d, weights=w)
        assert found[f"q.mean.{name}"].value == pytest.approx(mean, abs=1e-5)
        width = np.sqrt(np.average((d - mean) ** 2, weights=w))
        assert found[f"q.width.{name}"].value == pytest.approx(width, rel=1e-4)
        rms = np.sqrt(np.average(d**2, weights=w))
        assert found[f"q.rms.{name}"].value == pytest.approx(rms, rel=1e-4)
    cosine = np.cos(2 * (sample.event("psi_2") - events.event("psi_2").astype(float)))
    expected = np.average(cosine, weights=w)
    assert found["q.cos_2_delta_psi"].value == pytest.approx(expected, rel=1e-5)
    assert found["q.rms"].value == pytest.approx(
        (found["q.rms.x"].value + found["q.rms.y"].value) / 2
    )
    assert found["q.rms.x"].value == pytest.approx(1.5, abs=4 * found["q.rms.x"].error)


def test_a_recomputed_sample_is_recognised_and_certifies_nothing():
    result = close(toy_events(300, 1))
    assert result.by_construction
    found = by_name(result)
    assert found["q.by_construction"].value == 1
    assert all(np.isnan(found[name].value) for name in ("q.correlation.x", "q.rms", "q.rms.sum_pt"))


def test_sums_in_float32_count_as_recomputed_and_a_model_that_is_good_to_a_permille_does_not():
    events = toy_events(300, 1, mean_particles=400)
    vectors = events.events.copy()
    for k in range(len(events)):
        rows = slice(events.offsets[k], events.offsets[k + 1])
        pt, phi = events.particle("pt")[rows], events.particle("phi")[rows]
        total = np.float32(0)
        for term in pt * np.cos(np.float32(2) * phi):
            total += term
        vectors[k, EVENT_INDEX["q_x"]] = total
    assert close(dataclasses.replace(events, events=vectors)).by_construction
    size = float(np.std(events.event("q_x")))
    result = close(smeared(events, 1e-3 * size))
    assert not result.by_construction
    assert by_name(result)["q.correlation.x"].value == pytest.approx(1, abs=1e-5)


def test_particles_swapped_between_events_lose_all_correlation():
    events = toy_events(1000, 2)
    order = np.roll(np.arange(1000), 1)
    others = events.take(order)
    swapped = dataclasses.replace(others, events=events.events)
    found = by_name(close(swapped, events))
    assert abs(found["q.correlation"].value) < 4 * found["q.correlation"].error
    assert abs(found["q.cos_2_delta_psi"].value) < 4 * found["q.cos_2_delta_psi"].error
    assert found["q.correlation"].floor == pytest.approx(1, abs=1e-6)
    assert found["q.rms"].floor < 1e-4


def test_shifted_azimuth_turns_the_plane_and_leaves_sum_pt():
    events = toy_events(500, 3)
    shift = 0.3
    particles = events.particles.copy()
    particles[:, 5] += np.float32(shift)
    turned = dataclasses.replace(events, particles=particles)
    found = by_name(close(turned))
    assert found["q.cos_2_delta_psi"].value == pytest.approx(np.cos(2 * shift), abs=1e-4)
    assert found["q.rms.sum_pt"].value < 1e-3


def test_bins_of_centrality_add_up_and_are_named():
    sample = smeared(toy_events(900, 4), 2.0)
    found = by_name(close(sample, bins="b:0,4,6,9"))
    expected = smeared(toy_events(900, 4), 2.0)
    inside = (expected.event("b") >= 4) & (expected.event("b") < 6)
    alone = by_name(close(expected.take(inside)))
    assert found["q.rms.x@b:4-6"].value == pytest.approx(alone["q.rms.x"].value, rel=1e-9)
    parts = [found[f"q.rms.x@{label}"].value for label in ("b:0-4", "b:4-6", "b:6-9")]
    assert min(parts) < found["q.rms.x"].value < max(parts)


@pytest.mark.parametrize("text", ["b", "b:1", "b:5,1", "q:0,1", "b:0,x", "n_coll:"])
def test_bad_bins_are_refused(text):
    with pytest.raises(InputError):
        EventBins.parse(text)


def test_the_figure_holds_nearly_all_events():
    sample = smeared(toy_events(5000, 5, mean_particles=20), 2.0)
    figure = close(sample).figure
    assert figure.density.sum((1, 2)) == pytest.approx([5000, 5000], rel=0.02)
    assert figure.difference.sum(1) == pytest.approx([5000, 5000], rel=0.02)


def test_events_without_particles_have_no_plane_and_no_warning():
    empty = EventBatch.from_particles(
        np.ones(0), np.ones(0), np.ones(0), np.zeros(5, int), *[np.ones(5)] * 3
    )
    assert np.isnan(by_name(close(empty))["q.cos_2_delta_psi"].value)
    with pytest.raises(ValueError, match="no events"):
        QClosureAccumulator().result()
