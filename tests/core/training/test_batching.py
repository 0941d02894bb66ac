"""Shuffling and dealing of events."""

import numpy as np
import pytest

from hitools.core.training.batching import epoch_order, share_of


def test_every_event_is_seen_once_an_epoch_in_an_order_of_its_own():
    first, again, second = epoch_order(500, 1, 0), epoch_order(500, 1, 0), epoch_order(500, 1, 1)
    np.testing.assert_array_equal(np.sort(first), np.arange(500))
    np.testing.assert_array_equal(first, again)
    assert (first != second).mean() > 0.9
    assert (first != epoch_order(500, 2, 0)).mean() > 0.9


@pytest.mark.parametrize("n_processes", [1, 2, 3, 5])
def test_processes_share_a_step_without_overlap_and_evenly(oo, n_processes):
    lengths = oo.n_particles[:64]
    shares = [share_of(lengths, process, n_processes) for process in range(n_processes)]
    np.testing.assert_array_equal(np.sort(np.concatenate(shares)), np.arange(64))
    loads = [lengths[share].sum() for share in shares]
    assert max(loads) - min(loads) <= lengths.max()
    for share in shares:
        assert np.all(np.diff(lengths[share]) <= 0)


def test_a_process_without_an_event_gets_none():
    assert share_of(np.array([7]), 1, 2).tolist() == []
