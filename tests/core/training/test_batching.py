"""Shuffling, dealing and cutting of events."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from hitools.core.format.reader import open_events
from hitools.core.training.batching import MAX_PADDING, epoch_order, passes, share_of

REAL_O_O = Path(__file__).parents[2] / "data" / "oo.h5"


def real_lengths() -> np.ndarray:
    with open_events(REAL_O_O) as events:
        return np.concatenate([batch.n_particles for batch in events])


def padding(n_particles: np.ndarray, runs: list[slice]) -> float:
    slots = sum(n_particles[run].max() * (run.stop - run.start) for run in runs)
    return 1 - n_particles.sum() / slots


@pytest.mark.parametrize("batch", [16, 64])
@pytest.mark.parametrize("n_processes", [1, 2])
def test_padded_slots_stay_below_a_tenth_on_real_o_o_events(batch, n_processes):
    lengths = real_lengths()
    for epoch in range(4):
        step = lengths[epoch_order(len(lengths), 1, epoch)[:batch]]
        for process in range(n_processes):
            mine = step[share_of(step, process, n_processes)]
            runs = passes(mine, budget=8192)
            assert padding(mine, runs) <= MAX_PADDING
            assert len(runs) <= 12
            assert max(mine[run].max() * (run.stop - run.start) for run in runs) <= 8192


def test_every_event_is_seen_once_an_epoch_in_an_order_of_its_own():
    first, again, second = epoch_order(500, 1, 0), epoch_order(500, 1, 0), epoch_order(500, 1, 1)
    np.testing.assert_array_equal(np.sort(first), np.arange(500))
    np.testing.assert_array_equal(first, again)
    assert (first != second).mean() > 0.9
    assert (first != epoch_order(500, 2, 0)).mean() > 0.9


@pytest.mark.parametrize("n_processes", [1, 2, 3, 5])
def test_processes_share_a_step_without_overlap_and_evenly(n_processes):
    lengths = real_lengths()[:64]
    shares = [share_of(lengths, process, n_processes) for process in range(n_processes)]
    np.testing.assert_array_equal(np.sort(np.concatenate(shares)), np.arange(64))
    loads = [lengths[share].sum() for share in shares]
    assert max(loads) - min(loads) <= lengths.max()
    for share in shares:
        assert np.all(np.diff(lengths[share]) <= 0)


def test_the_cut_is_the_best_of_all_cuts():
    rng = np.random.default_rng(0)
    lengths = np.sort(rng.integers(1, 300, 9))[::-1]
    budget = 700
    best = min(
        len(cuts) + 1
        for n_cuts in range(9)
        for cuts in combinations(range(1, 9), n_cuts)
        if (runs := [slice(a, b) for a, b in zip((0, *cuts), (*cuts, 9), strict=True)])
        and padding(lengths, runs) <= MAX_PADDING
        and all(
            lengths[run][0] * (run.stop - run.start) <= budget or run.stop - run.start == 1
            for run in runs
        )
    )
    runs = passes(lengths, budget)
    assert padding(lengths, runs) <= MAX_PADDING
    assert len(runs) <= best + 1  # the toll is searched in factors of two


def test_an_event_above_the_budget_is_a_pass_of_its_own():
    runs = passes(np.array([5000, 90, 80]), budget=1000)
    assert runs[0] == slice(0, 1)
    assert runs[-1].stop == 3


def test_no_events_need_no_pass():
    assert passes(np.zeros(0, np.int64), 100) == []
