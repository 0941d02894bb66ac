"""Blocks are the same however the events arrive."""

import numpy as np
import pytest

from hitools.core.batch import EventBatch
from hitools.core.compare.blocks import steady_blocks
from tests.core.toys import toy_events


@pytest.mark.parametrize("size", [1, 7, 100, 301, 1000])
def test_blocks_do_not_depend_on_the_batches(size):
    events = toy_events(300, weighted=True)
    cut = [events[k : k + size] for k in range(0, 300, size)]
    blocks = list(steady_blocks(cut, 2000))
    expected = list(events.split(2000))
    assert [len(b) for b in blocks] == [len(b) for b in expected]
    together = EventBatch.concatenate(blocks)
    np.testing.assert_array_equal(together.particles, events.particles)
    np.testing.assert_array_equal(together.weights, events.weights)
    assert all(len(b.particles) <= 2000 for b in blocks)


def test_no_events_give_no_blocks():
    assert list(steady_blocks([])) == []
    assert list(steady_blocks([EventBatch.empty()])) == []
