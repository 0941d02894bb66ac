"""Events on the device are the events of the host, gathered and turned there.

The CPU is a device like any other: what a GPU computes is tested on it.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hitools.core.features import EVENT_COLUMNS, PARTICLE_COLUMNS, features
from hitools.core.format.meta import EventMeta
from hitools.core.model.folder import ModelFolder
from hitools.core.nets.rotary_config import RotaryConfig
from hitools.core.noise import NoiseKey
from hitools.core.symmetry import orientations
from hitools.core.training import resident, start
from hitools.core.training.data import pack, split
from hitools.core.training.feed import FileFeed, Sharing
from hitools.core.training.options import PRESETS
from hitools.core.training.resident import ResidentEvents, chosen, room, settled, tensors
from hitools.core.training.start import Sources, Start, prepared

CPU = torch.device("cpu")
ANGLES = {"psi_2": np.pi, "phi": 2 * np.pi, "phi_rel": 2 * np.pi}
"""Columns where two ends of the interval are one place, and its length."""


def assert_same_to_rounding(ours, expected, columns) -> None:
    assert ours.dtype == expected.dtype == np.float32
    for i, name in enumerate(columns):
        difference = ours[:, i].astype(np.float64) - expected[:, i]
        if name in ANGLES:
            difference -= ANGLES[name] * np.round(difference / ANGLES[name])
        allowed = 1e-6 * np.maximum(1, np.abs(expected[:, i]))
        assert (np.abs(difference) <= allowed).all(), name


@pytest.fixture
def rows(oo) -> np.ndarray:
    """Any events in any order, an empty one among them."""
    chosen_rows = np.random.default_rng(1).permutation(len(oo))[:40]
    return np.append(chosen_rows, np.flatnonzero(oo.n_particles == 0)[:1])


def test_gathered_events_are_the_host_s_bit_for_bit(oo, rows):
    on_host, on_device = (
        tensors(chosen(events, rows, None), CPU) for events in (oo, ResidentEvents.on(oo, CPU))
    )
    for ours, expected in zip(on_device, on_host, strict=True):
        assert torch.equal(ours, expected)


@pytest.mark.parametrize("mirror_eta", [True, False])
def test_events_turned_on_the_device_are_those_turned_on_the_host(oo, rows, mirror_eta):
    numbers = np.random.default_rng(2).uniform(size=len(rows)).astype(np.float32)
    orientation = orientations(numbers, mirror_eta=mirror_eta)
    expected = chosen(oo, rows, orientation)
    batch = chosen(ResidentEvents.on(oo, CPU), rows, orientation)
    events, particles = tensors(batch, CPU)
    assert_same_to_rounding(events.numpy(), expected.events, EVENT_COLUMNS)
    assert_same_to_rounding(particles.numpy(), expected.particles, PARTICLE_COLUMNS)
    np.testing.assert_array_equal(batch.offsets, expected.offsets)
    np.testing.assert_array_equal(batch.n_particles, expected.n_particles)


def test_the_formulas_give_tensors_what_they_give_arrays():
    """Angles of any branch, an event without particles, one with a single one."""
    rng = np.random.default_rng(3)
    offsets = np.array([0, 5, 5, 6, 46])
    kinematics = rng.exponential(1, 46), rng.uniform(-2, 2, 46), rng.uniform(-9, 9, 46)
    geometry = rng.uniform(1, 9, (3, 4))
    expected = features(*kinematics, offsets, *geometry)
    found = features(*(torch.from_numpy(one) for one in (*kinematics, offsets, *geometry)))
    for ours, theirs, columns in zip(
        found, expected, (EVENT_COLUMNS, PARTICLE_COLUMNS), strict=True
    ):
        assert_same_to_rounding(ours.numpy(), theirs, columns)


@pytest.mark.parametrize("process", [0, 1])
def test_steps_are_the_same_wherever_the_events_are(oo, process):
    weights = np.linspace(1, 3, len(oo)).astype(np.float32)
    data = split(replace(oo, weights=weights), 0, 0.2, 1000, 1)
    keys = (NoiseKey.of(1, f"training {what}") for what in ("time", "symmetry"))
    sharing = Sharing(16, process, 2, *keys, mirror_eta=True)
    placed = ResidentEvents.on(data.events, CPU)
    both = (FileFeed(data, sharing, 1, events).steps(0, 8) for events in (None, placed))
    for expected, step in zip(*both, strict=True):
        for name in ("index", "t"):
            np.testing.assert_array_equal(getattr(step, name), getattr(expected, name))
        for name in ("turn", "n_events_of_all", "event_weight", "particle_weight", "psi_weight"):
            assert getattr(step, name) == getattr(expected, name)
        np.testing.assert_array_equal(step.batch.weights_or_ones, expected.batch.weights)
        events, particles = tensors(step.batch, CPU)
        assert_same_to_rounding(events.numpy(), expected.batch.events, EVENT_COLUMNS)
        assert_same_to_rounding(particles.numpy(), expected.batch.particles, PARTICLE_COLUMNS)


def test_particles_of_a_file_are_copied_in_pieces(oo, tmp_path, monkeypatch):
    monkeypatch.setattr(resident, "_COPIED_AT_ONCE", 1000)
    mapped = pack(oo.split(max_particles=500), tmp_path / "packed", 0)
    assert isinstance(mapped.particles, np.memmap)
    np.testing.assert_array_equal(ResidentEvents.on(mapped, CPU).particles.numpy(), oo.particles)


def test_a_quarter_of_the_free_memory_is_for_events_or_less_if_told():
    assert room(80 * 10**9, None) == 20 * 10**9
    assert room(80 * 10**9, 4.0) == 4 * 10**9
    assert room(8 * 10**9, 4.0) == 2 * 10**9
    assert room(80 * 10**9, 0.0) == 0


def test_events_go_to_a_gpu_with_room_for_them_and_nowhere_else(oo, monkeypatch):
    gpu, size = torch.device("cuda", 0), oo.particles.nbytes
    monkeypatch.setattr(ResidentEvents, "on", lambda events, _: ("on the GPU", events))
    for free, memory_gb, fits in ((5 * size, None, True), (3 * size, None, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _, free=free: (free, 10**12))
        assert settled(oo, gpu, memory_gb) == (("on the GPU", oo) if fits else oo)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (10**12, 10**12))
    assert settled(oo, gpu, 0.0) is oo
    assert settled(oo, CPU, None) is oo

    def too_late(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(ResidentEvents, "on", too_late)
    assert settled(oo, gpu, None) is oo


def test_a_whole_training_does_not_depend_on_where_its_events_are(oo, tmp_path, monkeypatch):
    few = oo.take(np.flatnonzero((oo.n_particles > 0) & (oo.n_particles < 60))[:20])
    options = replace(
        PRESETS["rotary"],
        network=RotaryConfig(16, 1, 24, n_blocks=2, n_feedbacks=1, event_width=16),
        epochs=3,
        batch=5,
        validation_fraction=0.25,
    )
    taken, losses = [], []

    def on_the_device(events, device, _):
        taken.append(ResidentEvents.on(events, device))
        return taken[-1]

    for name in ("host", "device"):
        if name == "device":
            monkeypatch.setattr(start, "settled", on_the_device)
        sources = Sources([few], None, is_stream=False, meta=lambda: EventMeta(system="O-O"))
        with prepared(options, sources, Start(), tmp_path / name, lambda meta: meta) as run:
            run.trainer.run(lambda _: None)
        losses.append(
            [
                list((line["training"] | line["validation"]).values())
                for line in ModelFolder(tmp_path / name).read_metrics()
            ]
        )
    assert len(taken) == 1
    assert len(losses[0]) == 3
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
