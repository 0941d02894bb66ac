"""What makes a step, however it is shared, read or continued."""

import time

import numpy as np
import pytest

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.noise import NoiseKey
from hitools.core.training.data import split
from hitools.core.training.feed import FileFeed, Prefetch, Sharing, StreamFeed
from hitools.core.training.times import ParticleTimes

KEY = NoiseKey.of(1, "training time")


def feed(oo, batch=16, process=0, n_processes=1) -> FileFeed:
    return FileFeed(split(oo, 0, 0.2, 1000, 1), Sharing(batch, process, n_processes, KEY), seed=1)


def test_an_epoch_is_all_events_but_the_ones_that_fill_no_step(oo):
    steps = list(feed(oo).steps(0, 12))
    assert feed(oo).steps_per_epoch == 6  # 96 events in steps of 16
    for epoch in (0, 1):
        seen = np.concatenate([step.index for step in steps if step.turn == epoch])
        assert len(seen) == len(set(seen)) == 96
    first, second = steps[0], steps[6]
    assert set(first.index) != set(second.index)


def test_a_step_holds_the_events_that_it_names(oo):
    step = next(feed(oo).steps(0, 1))
    np.testing.assert_array_equal(step.batch.particles, oo.take(step.index).particles)
    assert np.all(np.diff(step.batch.n_particles) <= 0)


def test_steps_continue_where_they_were_left(oo):
    for whole, late in zip(list(feed(oo).steps(0, 20))[7:], feed(oo).steps(7, 20), strict=True):
        np.testing.assert_array_equal(whole.index, late.index)
        np.testing.assert_array_equal(whole.t, late.t)
        assert whole.turn == late.turn


def test_two_processes_take_the_steps_of_one(oo):
    halves = [feed(oo, process=process, n_processes=2).steps(0, 8) for process in (0, 1)]
    for whole, *parts in zip(feed(oo).steps(0, 8), *halves, strict=True):
        times = dict(zip(whole.index, whole.t, strict=True))
        assert sorted(np.concatenate([part.index for part in parts])) == sorted(whole.index)
        for part in parts:
            assert [times[event] for event in part.index] == list(part.t)
            assert part.n_events_of_all == 16
            assert part.event_weight == whole.event_weight == 16
            assert part.particle_weight == whole.particle_weight
            assert part.psi_weight == whole.psi_weight
        assert whole.particle_weight == whole.batch.offsets[-1]
        assert whole.psi_weight == np.sum(whole.t < 0.5)


def test_particles_may_have_other_times_than_event_vectors(oo):
    data = split(oo, 0, 0.2, 1000, 1)
    times = ParticleTimes.of(0.8, 4, 8, "power")
    other = FileFeed(data, Sharing(16, 0, 1, KEY, particle_times=times), seed=1)
    for same, step in zip(feed(oo).steps(0, 8), other.steps(0, 8), strict=True):
        np.testing.assert_array_equal(same.particle_t, same.t)
        np.testing.assert_array_equal(step.t, same.t)
        np.testing.assert_array_equal(step.particle_t, times(step.t, step.batch.n_particles))
        assert step.psi_weight == np.sum(step.particle_t < 0.5)


def test_event_weights_are_in_the_sums_of_a_step(oo):
    weights = np.linspace(1, 3, len(oo)).astype(np.float32)
    weighted = EventBatch(oo.events, oo.particles, oo.offsets, weights)
    step = next(feed(weighted).steps(0, 1))
    np.testing.assert_array_equal(step.batch.weights, weights[step.index])
    assert step.event_weight == pytest.approx(weights[step.index].sum())
    assert step.particle_weight == pytest.approx(
        (weights[step.index] * oo.n_particles[step.index]).sum()
    )


def test_fewer_events_than_a_step_make_a_step(oo):
    small = feed(oo[:10], batch=64)
    assert small.steps_per_epoch == 1
    assert next(small.steps(0, 1)).n_events_of_all == 8


@pytest.mark.parametrize("cut", [300, 2000, 10**6])
def test_a_stream_is_cut_into_steps_whatever_its_batches(oo, cut):
    stream = StreamFeed(oo.split(max_particles=cut), Sharing(32, 0, 1, KEY), steps_per_epoch=2)
    steps = list(stream.steps(0, 10))
    assert len(steps) == 3  # 24 events are left over
    filled = np.flatnonzero(oo.n_particles)
    for k, step in enumerate(steps):
        assert sorted(step.index) == list(range(32 * k, 32 * k + 32))
        np.testing.assert_array_equal(step.batch.particles, oo.take(filled[step.index]).particles)


def test_steps_made_ahead_come_in_order_and_waiting_is_measured(oo):
    def slow():
        for step in feed(oo).steps(0, 5):
            time.sleep(0.05)
            yield step

    ahead = Prefetch(slow())
    expected = [step.index for step in feed(oo).steps(0, 5)]
    for step, index in zip(ahead, expected, strict=True):
        np.testing.assert_array_equal(step.index, index)
    assert 0.15 < ahead.waited < 2
    ahead.close()


def test_an_error_while_reading_ahead_arrives(oo):
    def broken():
        yield next(feed(oo).steps(0, 1))
        raise InputError("event 17: damaged")

    ahead = Prefetch(broken())
    with pytest.raises(InputError, match="event 17"):
        list(ahead)
    ahead.close()


def test_closing_stops_the_reading(oo):
    made = []

    def endless():
        step = next(feed(oo).steps(0, 1))
        while True:
            made.append(step)
            yield step

    ahead = Prefetch(endless())
    next(iter(ahead))
    ahead.close()
    count = len(made)
    time.sleep(0.3)
    assert len(made) == count < 10
