"""The datasets of an event file: creating them, filling them, reading them without the padding.

`particles` is chunked by event, (1, slots, 6), so that whatever lies wholly in the padding is
never stored, compressed or read, and a single event can be fetched alone. The fast path here
decodes such chunks itself, many at a time; every other layout goes through the HDF5 library.
"""

import os
import zlib
from concurrent.futures import ThreadPoolExecutor
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
from hitools.core.format.images import damage_told

_N_EVENT: Final = len(EVENT_COLUMNS)
_N_PARTICLE: Final = len(PARTICLE_COLUMNS)
_EVENT_ROWS_PER_CHUNK: Final = 1024
_SLAB_SLOTS: Final = 1 << 22
"""Particle slots (100 MB) that the library path reads at once from files of others."""
_CHUNKS_PER_TASK: Final = 256


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
    if particles.compression is None and not particles.fletcher32:
        _write_plain_chunks(particles, batch, start)
    else:
        for row in range(len(batch)):
            begin, end = batch.offsets[row], batch.offsets[row + 1]
            if end > begin:
                particles[start + row, : end - begin] = batch.particles[begin:end]
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


def _write_plain_chunks(particles: h5py.Dataset, batch: EventBatch, start: int) -> None:
    slots = particles.chunks[1]
    chunk = np.zeros((slots, _N_PARTICLE), np.float32)
    for row in range(len(batch)):
        for begin in range(batch.offsets[row], batch.offsets[row + 1], slots):
            end = min(begin + slots, batch.offsets[row + 1])
            chunk[: end - begin] = batch.particles[begin:end]
            chunk[end - begin :] = 0
            place = (start + row, begin - batch.offsets[row], 0)
            particles.id.write_direct_chunk(place, chunk)


def check_datasets(file: h5py.File, where: str) -> None:
    """Refuse a file whose datasets cannot be events, or that would read other files.

    External links, external storage and virtual datasets can make a file show the contents of
    any other file of the reader's: a file of events has no use for them.

    Raises InputError.
    """
    shapes = {"events": (_N_EVENT,), "particles": (None, _N_PARTICLE), "weights": ()}
    n_events = None
    for name, tail in shapes.items():
        if name not in file:
            if name == "weights":
                continue
            raise InputError(f"{where}: no dataset {name!r}: not an event file")
        dataset = (
            file.get(name) if isinstance(file.get(name, getlink=True), h5py.HardLink) else None
        )
        if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
            raise InputError(f"{where}: {name!r} must be a plain dataset, no link or virtual one")
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


def read_events(file: h5py.File, rows: slice, where: str) -> tuple[Float32Array, IntArray]:
    """Event vectors and checked numbers of particles of these rows.

    Returns:
        (n, 11) float32 and (n,) int64. Raises InputError naming the first bad event.
    """
    with damage_told(f"{where}: events {rows.start} to {rows.stop - 1}"):
        events = np.asarray(file["events"][rows], dtype=np.float32)
    finite = np.isfinite(events).all(axis=1)
    if not finite.all():
        bad = int(np.argmin(finite))
        column = EVENT_COLUMNS[int(np.argmin(np.isfinite(events[bad])))]
        raise InputError(f"{where}: event {rows.start + bad}: {column} is not finite")
    claimed = events[:, EVENT_INDEX["n_particles"]]
    slots = file["particles"].shape[1]
    good = (claimed == np.round(claimed)) & (claimed >= 0) & (claimed <= slots)
    if not good.all():
        bad = int(np.argmin(good))
        raise InputError(
            f"{where}: event {rows.start + bad}: n_particles is {claimed[bad]:g}, "
            f"expected a whole number from 0 to {slots}"
        )
    return events, claimed.astype(np.int64)


def read_batch(
    file: h5py.File, rows: slice, events: Float32Array, counts: IntArray, where: str
) -> EventBatch:
    """The events of these rows with their particles packed.

    Raises InputError where a checksum fails or a value is not finite.
    """
    with damage_told(f"{where}: events {rows.start} to {rows.stop - 1}"):
        particles = read_particles(file["particles"], rows.start, counts)
        weights = file["weights"][rows].astype(np.float32) if "weights" in file else None
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    batch = EventBatch(events, particles, offsets, weights)
    if not np.isfinite(particles).all():
        finite = np.isfinite(particles).all(axis=1)
        bad = rows.start + int(batch.event_of_particle[np.argmin(finite)])
        raise InputError(f"{where}: event {bad}: a particle's values are not finite")
    if weights is not None and not (np.isfinite(weights) & (weights >= 0)).all():
        bad = rows.start + int(np.argmin(np.isfinite(weights) & (weights >= 0)))
        raise InputError(f"{where}: event {bad}: its weight is negative or not finite")
    return batch


def check_padding(dataset: h5py.Dataset, rows: slice, counts: IntArray, where: str) -> None:
    """Read these events whole, padding included; raise InputError where padding is not 0."""
    slots = dataset.shape[1]
    at_once = max(_SLAB_SLOTS // max(slots, 1), 1)
    for begin in range(rows.start, rows.stop, at_once):
        end = min(begin + at_once, rows.stop)
        with damage_told(f"{where}: events {begin} to {end - 1}"):
            slab = dataset[begin:end]
        padding = np.arange(slots) >= counts[begin - rows.start : end - rows.start, None]
        dirty = (slab != 0).any(axis=2) & padding
        if dirty.any():
            event = begin + int(np.argmax(dirty.any(axis=1)))
            slot = int(np.argmax(dirty[event - begin]))
            raise InputError(
                f"{where}: event {event}: slot {slot} is not 0, but lies past n_particles"
            )


def read_particles(dataset: h5py.Dataset, start: int, counts: IntArray) -> Float32Array:
    """The first counts[k] particles of each event start + k, packed.

    Args:
        dataset: (n_events, n_max, 6), any chunking, any filter that the library knows.
        start: first event.
        counts: (n,) particles per event.

    Returns:
        (counts.sum(), 6) float32.
    """
    chunks = dataset.chunks
    by_event = chunks is not None and chunks[0] == 1 and chunks[2] == _N_PARTICLE
    if by_event and dataset.dtype == np.dtype("<f4") and _decodable(dataset):
        return _read_by_event(dataset, start, counts)
    return _read_slabs(dataset, start, counts)


def _decodable(dataset: h5py.Dataset) -> bool:
    return dataset.scaleoffset is None and (
        (dataset.compression == "gzip" and dataset.shuffle)
        or (dataset.compression is None and not dataset.shuffle and not dataset.fletcher32)
    )


def _read_by_event(dataset: h5py.Dataset, start: int, counts: IntArray) -> Float32Array:
    """Decode the chunks ourselves, several at a time (zlib releases the interpreter lock).

    The Adler-32 checksum inside a zlib stream is checked by decompressing; the library's
    Fletcher-32 behind it need not be.
    """
    slots = dataset.chunks[1]
    per_event = -(-counts // slots)
    event = np.repeat(np.arange(len(counts)), per_event)
    first = np.cumsum(per_event) - per_event
    slot = (np.arange(len(event)) - np.repeat(first, per_event)) * slots
    filled = np.minimum(counts[event] - slot, slots)
    compressed = dataset.compression == "gzip"
    trailer = 4 if dataset.fletcher32 else 0

    def decode(data: list[bytes], kept: list[int]) -> Float32Array:
        if compressed:
            plain = [zlib.decompress(chunk[: len(chunk) - trailer]) for chunk in data]
            planes = np.frombuffer(b"".join(plain), np.uint8).reshape(len(data), 4, -1)
            words = planes[:, 3].astype(np.uint32)
            for byte in (2, 1, 0):
                words <<= 8
                words |= planes[:, byte]
            values = words.view(np.float32)
        else:
            values = np.frombuffer(b"".join(data), "<f4")
        padded = values.reshape(len(data), slots, _N_PARTICLE)
        return np.concatenate([chunk[:n] for chunk, n in zip(padded, kept, strict=True)])

    read_chunk = dataset.id.read_direct_chunk
    places = list(zip((start + event).tolist(), slot.tolist(), [0] * len(event), strict=True))
    # A pool per call: threads that outlive it would be missing in a forked child.
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        tasks = []
        for begin in range(0, len(event), _CHUNKS_PER_TASK):
            stored = [read_chunk(place) for place in places[begin : begin + _CHUNKS_PER_TASK]]
            if any(skipped for skipped, _ in stored):  # chunks that a filter could not shrink
                return _read_slabs(dataset, start, counts)
            kept = filled[begin : begin + _CHUNKS_PER_TASK].tolist()
            tasks.append(pool.submit(decode, [data for _, data in stored], kept))
        return np.concatenate(
            [np.zeros((0, _N_PARTICLE), np.float32), *(task.result() for task in tasks)]
        )


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
        pieces.append(np.asarray(slab[np.arange(longest) < kept[:, None]], np.float32))
        row = stop
    return np.concatenate(pieces)
