"""The datasets of an event file: creating them, filling them, reading them without the padding.

`particles` is chunked by event, (1, slots, 6), so that whatever lies wholly in the padding is
never stored, compressed or read, and a single event can be fetched alone. Such chunks are written
and read by chunks.py, many at a time; every other layout goes through the HDF5 library.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import h5py
import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.features import (
    EVENT_COLUMNS,
    EVENT_INDEX,
    PARTICLE_COLUMNS,
    Float32Array,
    IntArray,
)
from hitools.core.format import chunks
from hitools.core.format.chunks import EventChunks
from hitools.core.format.faults import BAD_WEIGHT, NEGATIVE_PT, NOT_FINITE, WRONG_COUNT, Fault
from hitools.core.format.images import Image, damage_told

_N_EVENT: Final = len(EVENT_COLUMNS)
_N_PARTICLE: Final = len(PARTICLE_COLUMNS)
_COUNT: Final = EVENT_INDEX["n_particles"]
_EVENT_ROWS_PER_CHUNK: Final = 1024
_SLAB_SLOTS: Final = 1 << 22
"""Particle slots (100 MB) that the library path reads at once from files of others."""


@dataclass(frozen=True)
class Storage:
    """How datasets are stored.

    Attributes:
        gzip: level 1 to 9 with shuffle, or 0 for no compression.
        checksum: a Fletcher-32 checksum per chunk (a stream has one of its own).
        slots: particles per chunk; None takes it from the events (about their mean number).
    """

    gzip: int = 1
    checksum: bool = True
    slots: int | None = None

    def options(self) -> dict[str, object]:
        """Keyword arguments of h5py's create_dataset."""
        options: dict[str, object] = {"fletcher32": self.checksum}
        if self.gzip:
            options |= {"compression": "gzip", "compression_opts": self.gzip, "shuffle": True}
        return options

    def altered(self, gzip: int | None, slots: int | None) -> "Storage":
        """The same with what is not None replaced."""
        return Storage(
            self.gzip if gzip is None else gzip,
            self.checksum,
            self.slots if slots is None else slots,
        )


ON_DISK: Final = Storage()
ON_A_PIPE: Final = Storage(gzip=0, checksum=False)


def create_datasets(file: h5py.File, first: EventBatch, storage: Storage) -> None:
    """Empty `events` and `particles` that can grow; chunk sizes suit the events given."""
    slots = storage.slots or _slots_for(first)
    file.create_dataset(
        "events",
        (0, _N_EVENT),
        np.float32,
        maxshape=(None, _N_EVENT),
        chunks=(_EVENT_ROWS_PER_CHUNK, _N_EVENT),
        **storage.options(),
    )
    file.create_dataset(
        "particles",
        (0, 0, _N_PARTICLE),
        np.float32,
        maxshape=(None, None, _N_PARTICLE),
        chunks=(1, slots, _N_PARTICLE),
        **storage.options(),
    )


def _slots_for(batch: EventBatch) -> int:
    mean = batch.offsets[-1] / max(len(batch), 1)
    return int(2 ** np.clip(np.floor(np.log2(max(mean, 1))), 5, 12))


def append(file: h5py.File, batch: EventBatch, storage: Storage) -> None:
    """Add events at the end; a first weight that is not 1 creates `weights` for all events."""
    events, particles = file["events"], file["particles"]
    start, stop = len(events), len(events) + len(batch)
    if not len(batch):
        return
    events.resize(stop, axis=0)
    events[start:] = batch.events
    slots = max(particles.shape[1], int(batch.n_particles.max()))
    particles.resize((stop, slots, _N_PARTICLE))
    chunks.write(
        particles,
        start,
        batch.particles,
        batch.n_particles,
        gzip=storage.gzip,
        checksum=storage.checksum,
    )
    if batch.weights is not None and "weights" not in file:
        file.create_dataset(
            "weights",
            data=np.ones(start, np.float32),
            maxshape=(None,),
            chunks=(_EVENT_ROWS_PER_CHUNK,),
            **storage.options(),
        )
    if "weights" in file:
        file["weights"].resize(stop, axis=0)
        file["weights"][start:] = batch.weights_or_ones


def plain_dataset(file: h5py.File, name: str, where: str) -> h5py.Dataset:
    """A dataset whose bytes are in this very file.

    External links, external storage and virtual datasets can make a file show the contents of
    any other file of the reader's: a file of events has no use for them.

    Raises InputError where it is missing or not plain.
    """
    if name not in file:
        raise InputError(f"{where}: no dataset {name!r}: not an event file")
    own = isinstance(file.get(name, getlink=True), h5py.HardLink)
    dataset = file.get(name) if own else None
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        raise InputError(f"{where}: {name!r} must be a plain dataset, no link or virtual one")
    return dataset


def check_datasets(file: h5py.File, where: str) -> None:
    """Raise InputError for a file whose datasets cannot be events."""
    shapes = {"events": (_N_EVENT,), "particles": (None, _N_PARTICLE), "weights": ()}
    n_events = None
    for name, tail in shapes.items():
        if name == "weights" and name not in file:
            continue
        dataset = plain_dataset(file, name, where)
        fits = len(dataset.shape) == 1 + len(tail) and all(
            want in (None, have) for want, have in zip(tail, dataset.shape[1:], strict=True)
        )
        if not fits or dataset.dtype.kind != "f":
            wanted = ", ".join("N" if size is None else str(size) for size in (None, *tail))
            raise InputError(
                f"{where}: {name!r} is {dataset.dtype} of shape {dataset.shape}, "
                f"expected floats of shape ({wanted})"
            )
        n_events = len(dataset) if n_events is None else n_events
        if len(dataset) != n_events:
            raise InputError(f"{where}: {name!r} has {len(dataset)} rows, 'events' has {n_events}")


def read_events(file: h5py.File, rows: slice, where: str) -> Float32Array:
    """(n, 11) float32: the event vectors of these rows, as they are."""
    with damage_told(f"{where}: events {rows.start} to {rows.stop - 1}"):
        return _as_float32(file["events"][rows])


def counts_of(events: Float32Array, slots: int) -> IntArray:
    """(n,) int64 particles to read per event: n_particles, or 0 where that cannot be."""
    claimed = events[:, _COUNT]
    with np.errstate(invalid="ignore"):
        good = (claimed == np.round(claimed)) & (claimed >= 0) & (claimed <= slots)
    return np.where(good, claimed, 0).astype(np.int64)


class BatchReader:
    """Reads events of one image without the padding: any chunking, any filter HDF5 knows."""

    def __init__(self, image: Image) -> None:
        """Read from an image whose datasets were checked."""
        self._image = image
        self._chunks = None
        if EventChunks.can_read(image["particles"]):
            self._chunks = EventChunks(image["particles"], image.bytes_at)

    def read(self, rows: slice, events: Float32Array, counts: IntArray, where: str) -> EventBatch:
        """The events of these rows with their particles packed, as they are (see the faults below).

        Args:
            rows: of `events`.
            events: (n, 11) their event vectors.
            counts: (n,) the particles to read of each.
            where: for messages.

        Raises:
            InputError: a checksum fails.
        """
        with damage_told(f"{where}: events {rows.start} to {rows.stop - 1}"):
            particles = None if self._chunks is None else self._chunks.read(rows.start, counts)
            if particles is None:
                particles = _read_slabs(self._image["particles"], rows.start, counts)
            weights = None
            if "weights" in self._image:
                weights = _as_float32(self._image["weights"][rows])
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return EventBatch(events, particles, offsets, weights)


def faults(batch: EventBatch, slots: int) -> list[Fault]:
    """What is wrong with the events of a batch that was just read, by their place in it.

    Args:
        batch: the events as they are in the file.
        slots: second dimension of `particles`.
    """
    return [*event_faults(batch.events, slots), *_particle_faults(batch)]


def event_faults(events: Float32Array, slots: int) -> list[Fault]:
    """Event vectors that are not finite or that count more particles than there are slots."""
    finite = np.isfinite(events)
    claimed = events[:, _COUNT]
    faults = []
    for row in np.flatnonzero(~finite.all(axis=1) | (claimed != counts_of(events, slots))):
        if finite[row].all():
            detail = f"n_particles is {claimed[row]:g}, expected a whole number from 0 to {slots}"
            faults.append(Fault(int(row), WRONG_COUNT, detail))
        else:
            column = EVENT_COLUMNS[int(np.argmin(finite[row]))]
            faults.append(Fault(int(row), NOT_FINITE, f"{column} is not finite"))
    return faults


def _particle_faults(batch: EventBatch) -> list[Fault]:
    """Events with a particle or a weight that is not finite or negative (a pT, a weight)."""
    bad = np.zeros(0, np.int64)
    if not np.isfinite(batch.particles).all():
        finite = np.isfinite(batch.particles).all(axis=1)
        bad = np.unique(batch.event_of_particle[~finite])
    faults = [Fault(int(row), NOT_FINITE, "a particle's values are not finite") for row in bad]
    pt = batch.particle("pt")
    negative = np.flatnonzero(pt < 0)
    rows, first = np.unique(batch.event_of_particle[negative], return_index=True)
    faults += [
        Fault(int(row), NEGATIVE_PT, f"pT of a particle is {pt[place]:g}")
        for row, place in zip(rows, negative[first], strict=True)
    ]
    weights = batch.weights_or_ones
    for row in np.flatnonzero(~(weights >= 0) | ~np.isfinite(weights)):
        reason = BAD_WEIGHT if weights[row] < 0 else NOT_FINITE
        faults.append(Fault(int(row), reason, f"its weight is {weights[row]:g}"))
    return faults


def hole_faults(batch: EventBatch) -> list[Fault]:
    """Events that count padding among their particles."""
    holes = np.flatnonzero(~batch.particles.any(axis=1))
    rows, first = np.unique(batch.event_of_particle[holes], return_index=True)
    slots = holes[first] - batch.offsets[rows]
    return [
        Fault(int(row), WRONG_COUNT, f"n_particles is {batch.n_particles[row]}, slot {slot} is 0")
        for row, slot in zip(rows, slots, strict=True)
    ]


def padding_faults(
    dataset: h5py.Dataset, rows: slice, counts: IntArray, where: str
) -> Iterator[Fault]:
    """Read these events whole, padding included; events whose padding is not 0."""
    slots = dataset.shape[1]
    at_once = max(_SLAB_SLOTS // max(slots, 1), 1)
    for begin in range(rows.start, rows.stop, at_once):
        end = min(begin + at_once, rows.stop)
        with damage_told(f"{where}: events {begin} to {end - 1}"):
            slab = dataset[begin:end]
        padding = np.arange(slots) >= counts[begin - rows.start : end - rows.start, None]
        dirty = (slab != 0).any(axis=2) & padding
        for row in np.flatnonzero(dirty.any(axis=1)):
            detail = f"slot {int(np.argmax(dirty[row]))} is not 0, but lies past n_particles"
            yield Fault(begin - rows.start + int(row), WRONG_COUNT, detail)


def _read_slabs(dataset: h5py.Dataset, start: int, counts: IntArray) -> Float32Array:
    """Read padded slabs as wide as their longest event and drop the padding."""
    chunk_rows = dataset.chunks[0] if dataset.chunks else 1
    pieces = [np.zeros((0, _N_PARTICLE), np.float32)]
    row, n = start, start + len(counts)
    while row < n:
        # Whole rows of chunks, so that no chunk is decompressed twice, while they fit.
        stop = min(n, (row // chunk_rows + 1) * chunk_rows)
        longest = max(int(counts[row - start : stop - start].max()), 1)
        stop = min(stop, row + max(_SLAB_SLOTS // longest, 1))
        kept = counts[row - start : stop - start]
        longest = int(kept.max())
        slab = dataset[row:stop, :longest]
        pieces.append(_as_float32(slab[np.arange(longest) < kept[:, None]]))
        row = stop
    return np.concatenate(pieces)


def _as_float32(values: np.ndarray) -> Float32Array:
    """The same in float32; what is too large for it is infinite, and that is found as a fault."""
    with np.errstate(over="ignore"):
        return np.asarray(values, np.float32)
