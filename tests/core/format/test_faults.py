"""Bad events in files: named by default, left out and told where a handler takes them."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.features import EVENT_INDEX
from hitools.core.format import faults
from hitools.core.format.faults import Fault
from hitools.core.format.images import ImageSource
from hitools.core.format.reader import EventReader, open_events

BAD = {
    3: faults.NOT_FINITE,  # n_coll
    7: faults.WRONG_COUNT,  # half a particle
    8: faults.WRONG_COUNT,  # more than there are slots
    20: faults.NOT_FINITE,  # pT of a particle
    21: faults.BAD_WEIGHT,
    40: faults.NEGATIVE_PT,
    119: faults.NOT_FINITE,  # weight
}


@pytest.fixture
def damaged(tmp_path: Path, oo_path: Path) -> Path:
    """The real events in a plain file of somebody else's, seven of them spoilt."""
    path = tmp_path / "damaged.h5"
    with h5py.File(oo_path) as good, h5py.File(path, "w") as file:
        events, particles = good["events"][:], good["particles"][:]
        weights = np.ones(len(events), np.float32)
        events[3, EVENT_INDEX["n_coll"]] = np.nan
        events[7, EVENT_INDEX["n_particles"]] -= 0.5
        events[8, EVENT_INDEX["n_particles"]] = particles.shape[1] + 1
        particles[20, 1, 3] = np.inf
        particles[40, 2, 3] *= -1
        weights[21], weights[119] = -1, np.nan
        file["events"], file["particles"], file["weights"] = events, particles, weights
    return path


def read_with_handler(path: Path, **options: bool) -> tuple[EventBatch, list[Fault]]:
    found: list[Fault] = []
    source = ImageSource(path)
    with EventReader(
        source, 1 << 12, None, on_fault=lambda _, fault: found.append(fault), **options
    ) as reader:
        return EventBatch.concatenate(list(reader)), found


def test_the_first_bad_event_is_named(damaged):
    with open_events(damaged) as events, pytest.raises(InputError) as error:
        list(events)
    assert str(error.value) == f"{damaged}: event 3: n_coll is not finite"


def test_a_handler_hears_of_every_bad_event_in_order_and_gets_all_others(damaged, oo):
    batch, found = read_with_handler(damaged)
    assert {fault.event: fault.reason for fault in found} == BAD
    assert [fault.event for fault in found] == list(BAD)
    good = np.setdiff1d(np.arange(len(oo)), list(BAD))
    np.testing.assert_array_equal(batch.events, oo.take(good).events)
    np.testing.assert_array_equal(batch.particles, oo.take(good).particles)


def test_counts_that_disagree_with_the_slots_filled_are_found(tmp_path, oo_path, oo):
    path = tmp_path / "counts.h5"
    with h5py.File(oo_path) as good, h5py.File(path, "w") as file:
        file["events"], file["particles"] = good["events"][:], good["particles"][:]
        file["events"][5, EVENT_INDEX["n_particles"]] += 1
        file["particles"][6, -1, 0] = 1
    batch, found = read_with_handler(path, check_padding=True)
    n = oo.n_particles[5]
    assert found == [
        Fault(5, faults.WRONG_COUNT, f"n_particles is {n + 1}, slot {n} is 0"),
        Fault(
            6,
            faults.WRONG_COUNT,
            f"slot {oo.n_particles.max() - 1} is not 0, but lies past n_particles",
        ),
    ]
    assert len(batch) == len(oo) - 2


def test_numbers_that_float32_cannot_hold_are_found_without_a_warning(tmp_path, oo_path):
    path = tmp_path / "wide.h5"
    with h5py.File(oo_path) as good, h5py.File(path, "w") as file:
        events, particles = (good[name][:].astype(np.float64) for name in ("events", "particles"))
        weights = np.ones(len(events))
        events[3, EVENT_INDEX["sum_pt"]] = particles[4, 0, 3] = weights[5] = 1e300
        file["events"], file["particles"], file["weights"] = events, particles, weights
    _, found = read_with_handler(path)
    assert {fault.event: fault.reason for fault in found} == dict.fromkeys(
        (3, 4, 5), faults.NOT_FINITE
    )
