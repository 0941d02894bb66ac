"""Packing of training events in memory and on disk, and setting some aside."""

import numpy as np
import pytest

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.training.data import memory_limit, open_packed, pack, split


def empty_events(n_events: int) -> EventBatch:
    none, ones = np.zeros(0), np.ones(n_events)
    return EventBatch.from_particles(
        none, none, none, np.zeros(n_events, np.int64), ones, ones, ones
    )


@pytest.mark.parametrize("limit", [0, 100_000, 10**9])
def test_events_packed_on_disk_are_the_events_packed_in_memory(oo, tmp_path, limit):
    packed = pack(oo.split(max_particles=3000), tmp_path / "data", limit)
    for name in ("events", "particles", "offsets"):
        np.testing.assert_array_equal(getattr(packed, name), getattr(oo, name))
    on_disk = limit < oo.particles.nbytes
    assert isinstance(packed.particles, np.memmap) == on_disk
    rows = np.array([5, 99, 5, 0])
    np.testing.assert_array_equal(packed.take(rows).particles, oo.take(rows).particles)
    if on_disk:  # and what another process of the node sees
        np.testing.assert_array_equal(open_packed(tmp_path / "data").particles, oo.particles)


def test_weights_survive_the_way_over_the_disk(oo, tmp_path):
    weights = np.linspace(0.5, 2, len(oo)).astype(np.float32)
    weighted = EventBatch(oo.events, oo.particles, oo.offsets, weights)
    packed = pack([weighted], tmp_path / "data", limit=0)
    np.testing.assert_array_equal(packed.weights_or_ones, weights)


def test_a_part_set_aside_is_random_disjoint_and_follows_the_seed(oo):
    data = split(oo, 0, fraction=0.25, most=1000, seed=1)
    assert len(data.validation) == 30
    np.testing.assert_array_equal(
        np.sort(np.concatenate([data.train, data.validation])), np.arange(120)
    )
    assert np.diff(data.validation).max() > 1
    np.testing.assert_array_equal(split(oo, 0, 0.25, 1000, 1).validation, data.validation)
    assert not np.array_equal(split(oo, 0, 0.25, 1000, 2).validation, data.validation)
    assert len(split(oo, 0, 0.25, most=7, seed=1).validation) == 7


def test_a_validation_file_stays_apart(oo):
    data = split(oo, 20, fraction=0.5, most=1000, seed=1)
    np.testing.assert_array_equal(data.validation, np.arange(100, 120))
    np.testing.assert_array_equal(data.train, np.arange(100))


def test_events_without_particles_are_in_neither_part(oo):
    mixed = EventBatch.concatenate([oo[:10], empty_events(5), oo[10:20]])
    data = split(mixed, 0, 0.3, 1000, 1)
    assert set(data.train) | set(data.validation) == set(range(10)) | set(range(15, 25))
    with pytest.raises(InputError, match="expected some of both"):
        split(empty_events(9), 0, 0.3, 1000, 1)


def test_the_fingerprint_tells_data_apart(oo):
    one, other = (split(batch, 0, 0.3, 1000, 1).describe() for batch in (oo, oo[:119]))
    assert one["sha256"] != other["sha256"]
    assert one["n_train"] == 84
    assert one == split(oo, 0, 0.3, 1000, 1).describe()


def test_the_memory_limit_is_a_quarter_of_the_machine_or_what_was_said():
    assert memory_limit(2) == 2_000_000_000
    assert memory_limit(None) > 10**8
