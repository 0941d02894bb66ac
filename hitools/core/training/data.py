"""Training events packed one after another: in memory, or in a memory-mapped file when too many.

The file is made once per run and node and shared by its processes, so that a machine holds one copy
however many processes train.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.features import PARTICLE_COLUMNS, IntArray

_N_PARTICLE: Final = len(PARTICLE_COLUMNS)


@dataclass(frozen=True)
class TrainingData:
    """Events and what they are for.

    Attributes:
        events: all of them; particles may live in a file.
        train: (n_train,) rows of events to train on.
        validation: (n_validation,) rows set aside.
    """

    events: EventBatch
    train: IntArray
    validation: IntArray

    def describe(self) -> dict[str, object]:
        """Counts and a fingerprint, for config.json and for recognising the same data again."""
        digest = hashlib.sha256()
        for array in (self.events.events, self.events.offsets, self.events.weights_or_ones):
            digest.update(np.ascontiguousarray(array).tobytes())
        return {
            "n_train": len(self.train),
            "n_validation": len(self.validation),
            "n_particles": int(self.events.n_particles[self.train].sum()),
            "sha256": digest.hexdigest(),
        }


def memory_limit(gigabytes: float | None) -> int:
    """Bytes of particles to keep in memory: as told, or a quarter of the machine's."""
    if gigabytes is not None:
        return int(gigabytes * 1e9)
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4


def pack(batches: Iterable[EventBatch], folder: Path, limit: int) -> EventBatch:
    """All events one after another.

    Args:
        batches: the events in order.
        folder: where the particles go when they are more than limit; made when needed.
        limit: bytes of particles to keep in memory; 0 puts everything into folder.
    """
    kept: list[EventBatch] = []
    size = 0
    remaining = iter(batches)
    for batch in remaining:
        kept.append(batch)
        size += batch.particles.nbytes
        if size > limit:
            return _pack_to_disk(kept, remaining, folder)
    return EventBatch.concatenate(kept)


def _pack_to_disk(
    kept: list[EventBatch], remaining: Iterable[EventBatch], folder: Path
) -> EventBatch:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    events, counts, weights = [], [], []
    with (folder / "particles.f32").open("wb") as out:
        for batch in chain(kept, remaining):
            out.write(np.ascontiguousarray(batch.particles, dtype=np.float32).data)
            events.append(batch.events)
            counts.append(batch.n_particles)
            weights.append(batch.weights_or_ones)
    np.save(folder / "events.npy", np.concatenate(events))
    np.save(folder / "weights.npy", np.concatenate(weights))
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    np.save(folder / "offsets.npy", offsets.astype(np.int64))
    return open_packed(folder)


def open_packed(folder: Path) -> EventBatch:
    """What pack left in a folder, for the other processes of the node."""
    events, offsets, weights = (
        np.load(folder / f"{name}.npy") for name in ("events", "offsets", "weights")
    )
    particles = np.memmap(
        folder / "particles.f32", np.float32, "r", shape=(int(offsets[-1]), _N_PARTICLE)
    )
    return EventBatch(events, particles, offsets, weights)


def split(
    events: EventBatch, n_validation_file: int, fraction: float, most: int, seed: int
) -> TrainingData:
    """Set events aside for validation: the last n_validation_file, or a random part.

    Events without particles are left out of both: there is nothing to denoise.

    Args:
        events: all events, those of a validation file last.
        n_validation_file: how many came from it; 0 where there was none.
        fraction: of the events to set aside where there was none.
        most: at most this many of them.
        seed: of the choice.

    Raises:
        InputError: nothing is left to train on or to validate with.
    """
    if n_validation_file:
        border = len(events) - n_validation_file
        train, validation = np.arange(border), np.arange(border, len(events))
    else:
        filled = np.flatnonzero(events.n_particles > 0)
        order = np.random.default_rng([seed, 2**32]).permutation(len(filled))
        n_validation = min(max(round(fraction * len(filled)), 1), most)
        train, validation = (
            np.sort(filled[part]) for part in np.split(order, [len(order) - n_validation])
        )
    train, validation = (rows[events.n_particles[rows] > 0] for rows in (train, validation))
    if not len(train) or not len(validation):
        raise InputError(
            f"training: {len(train)} events to train on and {len(validation)} to validate with, "
            "expected some of both (events without particles do not count)"
        )
    return TrainingData(events, train, validation)
