"""What a classifier gets to see: parts, constants, weights, particles, subsets, duplicates."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hitools.core.batch import EventBatch
from hitools.core.compare.classify import intake
from hitools.core.compare.classify.dataset import LabelledEvents, Scaling, chunk, split
from hitools.core.errors import InputError
from hitools.core.hashing import event_fingerprints
from tests.core.toys import toy_events


@pytest.fixture(scope="module")
def data():
    return LabelledEvents.from_batches(
        toy_events(300, 1, weighted=True), toy_events(200, 2, mean_particles=30)
    )


def test_parts_hold_every_event_once_and_70_15_15_percent_of_each_class(data):
    parts = split(data.is_reference, np.random.default_rng(1))
    everything = np.concatenate([parts.training, parts.validation, parts.test])
    assert sorted(everything) == list(range(500))
    sizes = [
        (int(data.is_reference[rows].sum()), int((~data.is_reference[rows]).sum()))
        for rows in (parts.training, parts.validation, parts.test)
    ]
    assert sizes == [(210, 140), (45, 30), (45, 30)]


def test_both_classes_weigh_the_same(data):
    assert data.weights[data.is_reference].sum() == pytest.approx(250)
    assert data.weights[~data.is_reference].sum() == pytest.approx(250)
    assert np.ptp(data.weights[data.is_reference]) > 0.5
    assert np.ptp(data.weights[~data.is_reference]) == 0


def test_constants_come_from_the_training_part_alone(data):
    parts = split(data.is_reference, np.random.default_rng(1))
    scaling = Scaling.of(data, parts.training)
    events, particles = data.events.copy(), data.particles.copy()
    events[parts.test] = 1e6
    particles[data.particle_rows(parts.test)] = -1e6
    again = Scaling.of(replace(data, events=events, particles=particles), parts.training)
    np.testing.assert_array_equal(scaling.events, again.events)
    np.testing.assert_array_equal(scaling.particles, again.particles)
    seen = chunk(data, parts.training, scaling, torch.device("cpu"))
    np.testing.assert_allclose(seen.events.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(seen.particles.std(0), 1, atol=1e-3)


def test_a_column_that_never_changes_is_no_information_and_no_division_by_zero(data):
    events = data.events.copy()
    events[:, 3] = 0.1
    scaling = Scaling.of(replace(data, events=events), np.arange(500))
    seen = chunk(replace(data, events=events), np.arange(5), scaling, torch.device("cpu"))
    np.testing.assert_allclose(seen.events[:, 3], 0, atol=1e-6)


def test_a_chunk_holds_the_particles_of_its_events_in_order(data):
    scaling = Scaling(*(np.array([[0], [1]], np.float32) * np.ones(n) for n in (11, 8)))
    rows = np.array([400, 3, 17])
    seen = chunk(data, rows, scaling, torch.device("cpu"))
    for k, row in enumerate(rows):
        mine = seen.particles[seen.event_of_particle == k]
        expected = data.particles[data.offsets[row] : data.offsets[row + 1]]
        np.testing.assert_array_equal(mine, expected)
    np.testing.assert_array_equal(seen.n_particles, data.n_particles[rows])


def test_particles_are_seen_without_the_stored_event_vector():
    batch = toy_events(50)
    other = EventBatch(batch.events * 3 + 1, batch.particles.copy(), batch.offsets)
    other.particles[:, :3] += 1  # the relative columns
    a = LabelledEvents.from_batches(batch, batch)
    b = LabelledEvents.from_batches(other, other)
    np.testing.assert_array_equal(a.particles, b.particles)


def test_thinning_keeps_a_random_part_of_large_events_and_all_of_small_ones(data):
    thin = data.thinned(40, seed=3)
    np.testing.assert_array_equal(thin.n_particles, np.minimum(data.n_particles, 40))
    np.testing.assert_array_equal(thin.multiplicity, data.n_particles)
    places = []
    for k in range(500):
        mine = data.particles[data.offsets[k] : data.offsets[k + 1]].tolist()
        kept = thin.particles[thin.offsets[k] : thin.offsets[k + 1]].tolist()
        found = [mine.index(row) for row in kept]
        assert found == sorted(found)
        if len(mine) > 40:
            places += [(place + 0.5) / len(mine) for place in found]
    assert np.mean(places) == pytest.approx(0.5, abs=0.02)
    assert np.std(places) == pytest.approx(12**-0.5, abs=0.02)


# The intake --------------------------------------------------------------------------------


def taken(batch, max_events, cuts, seed=1):
    side = intake.Intake(max_events, seed)
    for first, last in zip([0, *cuts], [*cuts, len(batch)], strict=True):
        side.add(batch[first:last])
    return side


@pytest.mark.parametrize("max_events", [7, 50, 300, 1000])
def test_the_subset_does_not_depend_on_batches(max_events):
    batch = toy_events(300, mean_particles=5)
    one = taken(batch, max_events, []).batch()
    many = taken(batch, max_events, list(range(10, 300, 10))).batch()
    np.testing.assert_array_equal(one.events, many.events)
    np.testing.assert_array_equal(one.particles, many.particles)
    assert len(one) == min(max_events, 300)


def test_the_subset_is_spread_over_the_whole_input_and_follows_the_seed():
    batch = toy_events(2000, mean_particles=2)
    batch.events[:, 0] = np.arange(2000)
    chosen = [taken(batch, 200, [], seed).batch().events[:, 0] for seed in (1, 2)]
    assert np.all(np.diff(chosen[0]) > 0)
    assert chosen[0].mean() == pytest.approx(1000, abs=150)
    assert 5 < len(np.intersect1d(*chosen)) < 45  # 20 by chance


def test_an_event_in_both_inputs_is_refused_whatever_became_of_it():
    reference, sample = toy_events(300, 1), toy_events(200, 2)
    swapped = EventBatch.concatenate([sample[:60], reference[45:47], sample[60:]])
    sides = taken(reference, 10, []), taken(swapped, 10, [])
    with pytest.raises(InputError) as error:
        intake.require_disjoint(sides[0].fingerprints(), sides[1].fingerprints(), "a.h5", "b.h5")
    assert "b.h5: 2 of 202 events are also in a.h5 (event 60 is its event 45)" in str(error.value)
    intake.require_disjoint(event_fingerprints(reference), event_fingerprints(sample), "a", "b")


def test_events_without_particles_are_not_taken_for_copies():
    empty = event_fingerprints(
        EventBatch(np.zeros((3, 11), np.float32), np.zeros((0, 6), np.float32), np.zeros(4, int))
    )
    intake.require_disjoint(empty, empty, "a", "b")
    assert intake.n_repeated(empty) == 0


def test_repeated_events_of_one_input_are_counted():
    batch = toy_events(20)
    prints = event_fingerprints(EventBatch.concatenate([batch, batch[3:8]]))
    assert intake.n_repeated(prints) == 5


def test_halves_share_no_event_and_the_second_is_no_larger_than_asked():
    for n_second, expected in ((100, 50), (20, 20)):
        first, second = intake.halves(101, n_second, np.random.default_rng(0))
        assert len(first) == 50
        assert len(second) == min(expected + (n_second == 100), 51)
        assert not set(first) & set(second)
