"""Packing: slices, picks and joins keep every event's particles together."""

import numpy as np
import pytest

from hitools.core.batch import EventBatch, runs_by_budget


def particles_of(batch: EventBatch, k: int) -> np.ndarray:
    return batch.particles[batch.offsets[k] : batch.offsets[k + 1]]


def test_picked_events_keep_their_particles_and_vectors(oo):
    rows = np.array([7, 0, 7, 119])
    picked = oo.take(rows)
    assert len(picked) == 4
    for k, row in enumerate(rows):
        np.testing.assert_array_equal(particles_of(picked, k), particles_of(oo, row))
        np.testing.assert_array_equal(picked.events[k], oo.events[row])


def test_a_boolean_mask_picks_like_indices(oo):
    mask = oo.event("n_particles") > 300
    assert 0 < mask.sum() < len(oo)
    np.testing.assert_array_equal(oo.take(mask).particles, oo.take(np.flatnonzero(mask)).particles)


def test_slices_joined_again_are_the_whole(oo):
    joined = EventBatch.concatenate([oo[:5], oo[5:50], oo[50:]])
    np.testing.assert_array_equal(joined.particles, oo.particles)
    np.testing.assert_array_equal(joined.offsets, oo.offsets)


def test_joining_weighted_and_unweighted_events_fills_in_ones(oo):
    weighted = EventBatch(
        oo[:2].events, oo[:2].particles, oo[:2].offsets, np.array([2, 3], np.float32)
    )
    np.testing.assert_array_equal(EventBatch.concatenate([weighted, oo[2:4]]).weights, [2, 3, 1, 1])


@pytest.mark.parametrize("budget", [1, 100, 1000, 10**6])
def test_budgeted_runs_cover_all_events_and_only_single_events_exceed_the_budget(oo, budget):
    runs = list(runs_by_budget(oo.offsets, budget))
    assert [run.start for run in runs] == [0, *(run.stop for run in runs[:-1])]
    assert runs[-1].stop == len(oo)
    for run in runs:
        held = oo.offsets[run.stop] - oo.offsets[run.start]
        assert held <= budget or run.stop == run.start + 1


def test_real_events_recomputed_from_their_particles_are_unchanged(oo):
    again = oo.recomputed()
    np.testing.assert_allclose(again.events, oo.events, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(again.particles, oo.particles, rtol=1e-6, atol=1e-6)
