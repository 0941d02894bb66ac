"""Chunks that hold particles of one event each: stored and read by ourselves, many at a time.

A call of the HDF5 library costs more than unpacking the 3 kB of a typical chunk. So it is asked
once where all chunks lie (`chunk_iter`), and the rest happens here. What is stored is what the
library itself stores (shuffle, deflate, Fletcher-32), and every HDF5 program reads it.
"""

import struct
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import h5py
import numpy as np
from isal import isal_zlib

from hitools.core.features import PARTICLE_COLUMNS, Float32Array, IntArray

_N_PARTICLE: Final = len(PARTICLE_COLUMNS)
_ROW_BYTES: Final = 4 * _N_PARTICLE
_SHUFFLED: Final = (h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE)
_READABLE: Final = ((), _SHUFFLED, (*_SHUFFLED, h5py.h5z.FILTER_FLETCHER32))
_CHECKSUM_BYTES: Final = 4
_BLOCK_BYTES: Final = 1 << 19
"""Unpacked chunks that are handled together; they stay in the processor's cache."""


@dataclass(frozen=True)
class _Split:
    """Events cut into chunks.

    Attributes:
        event: (n_chunks,) to which event each chunk belongs.
        first_slot: (n_chunks,) where in its event it begins.
        filled: (n_chunks,) how many particles it holds.
        begin: (n_chunks,) where they begin among the packed particles of all events.
    """

    event: IntArray
    first_slot: IntArray
    filled: IntArray
    begin: IntArray

    @classmethod
    def of(cls, counts: IntArray, slots: int) -> "_Split":
        """Events of these (n_events,) numbers of particles, in chunks of so many slots."""
        chunks_of = -(-counts // slots)
        event = np.repeat(np.arange(len(counts)), chunks_of)
        first_chunk = np.cumsum(chunks_of) - chunks_of
        first_slot = (np.arange(len(event)) - first_chunk[event]) * slots
        filled = np.minimum(counts[event] - first_slot, slots)
        return cls(event, first_slot, filled, np.cumsum(filled) - filled)

    def blocks(self, slots: int) -> Iterator[tuple[slice, slice]]:
        """Runs of chunks to handle together: which chunks, and which packed particles."""
        step = max(_BLOCK_BYTES // (slots * _ROW_BYTES), 1)
        for start in range(0, len(self.event), step):
            stop = min(start + step, len(self.event))
            end = self.begin[stop - 1] + self.filled[stop - 1]
            yield slice(start, stop), slice(int(self.begin[start]), int(end))


def write(
    dataset: h5py.Dataset,
    start: int,
    particles: Float32Array,
    counts: IntArray,
    *,
    gzip: int,
    checksum: bool,
) -> None:
    """Write the particles of events start, start + 1, ...

    Args:
        dataset: (n_events, n_max, 6) float32, chunked by event, large enough.
        start: first event.
        particles: (counts.sum(), 6) float32, packed.
        counts: (n,) particles per event.
        gzip: level, with shuffle, or 0 for none: the dataset's filter.
        checksum: whether the dataset has Fletcher-32 (the last filter).
    """
    slots = dataset.chunks[1]
    split = _Split.of(counts, slots)
    for block, rows in split.blocks(slots):
        filled = split.filled[block]
        padded = np.zeros((len(filled), slots, _N_PARTICLE), "<f4")
        padded[np.arange(slots) < filled[:, None]] = particles[rows]
        places = zip(
            (start + split.event[block]).tolist(), split.first_slot[block].tolist(), strict=True
        )
        stored = _stored(padded, gzip, checksum=checksum)
        for (event, slot), data in zip(places, stored, strict=True):
            dataset.id.write_direct_chunk((event, slot, 0), data)


def _stored(padded: Float32Array, gzip: int, *, checksum: bool) -> Iterator[bytes]:
    """What (n_chunks, slots, 6) little-endian float32 look like in a file."""
    chunks = padded.view(np.uint8)
    if gzip:  # the library's shuffle: the first byte of every value, then the second, ...
        chunks = np.ascontiguousarray(chunks.reshape(len(padded), -1, 4).transpose(0, 2, 1))
    for chunk in chunks:
        data = chunk.tobytes()
        data = _deflated(data, gzip) if gzip else data
        yield data + fletcher32(data) if checksum else data


def _deflated(shuffled: bytes, level: int) -> bytes:
    """One zlib stream, with a block of its own for the last byte of all values.

    The other three are mantissas: random, and then stored as they are. Signs and exponents get a
    code of their own. This is 5% smaller than one block for all, and unpacked a third faster.
    """
    mantissas = 3 * len(shuffled) // 4
    packer = zlib.compressobj(level)
    first = packer.compress(shuffled[:mantissas]) + packer.flush(zlib.Z_BLOCK)
    return first + packer.compress(shuffled[mantissas:]) + packer.flush()


def fletcher32(data: bytes) -> bytes:
    """The four bytes that HDF5 keeps behind a chunk: HDF5 File Format Specification, IV.A.2.l.

    Sums modulo 65535 of big-endian 16-bit words, in which a multiple of 65535 is not 0.
    """
    words = np.frombuffer(data + b"\0" * (len(data) % 2), ">u2").astype(np.int64)
    plain, weighted = int(words.sum()), int(words @ np.arange(len(words), 0, -1))
    low, high = ((total - 1) % 65535 + 1 if total else 0 for total in (plain, weighted))
    return struct.pack("<HH", low, high)


class EventChunks:
    """The chunks of a dataset `particles` of which each holds particles of one event."""

    @staticmethod
    def can_read(dataset: h5py.Dataset) -> bool:
        """Whether chunks and filters are such as we write (files of others often are not)."""
        chunks = dataset.chunks
        if chunks is None or chunks[0] != 1 or chunks[2] != _N_PARTICLE:
            return False
        properties = dataset.id.get_create_plist()
        filters = tuple(properties.get_filter(k)[0] for k in range(properties.get_nfilters()))
        return dataset.dtype == np.dtype("<f4") and filters in _READABLE

    def __init__(self, dataset: h5py.Dataset, bytes_at: Callable[[int, int], bytes]) -> None:
        """Read from a dataset that can be read.

        Args:
            dataset: (n_events, n_max, 6) float32.
            bytes_at: gives so many bytes of the file from an address on.
        """
        self._dataset = dataset
        self._bytes_at = bytes_at
        self._slots: int = dataset.chunks[1]
        self._per_event = max(-(-dataset.shape[1] // self._slots), 1)
        self._compressed = dataset.compression is not None
        self._trailer = _CHECKSUM_BYTES if dataset.fletcher32 else 0
        self._indexed_events = 0
        self._numbers = self._addresses = self._sizes = np.zeros(0, np.int64)
        self._all_filtered = True

    def read(self, start: int, counts: IntArray) -> Float32Array | None:
        """The first counts[k] particles of each event start + k, packed.

        The Adler-32 checksum inside a zlib stream is checked by unpacking it (ISA-L does so 1.4
        times faster than zlib); the library's Fletcher-32 behind it need not be.

        Returns:
            (counts.sum(), 6) float32; None where a chunk skipped a filter that could not shrink
            it, which is for the library to sort out.
        """
        split = _Split.of(counts, self._slots)
        numbers = (start + split.event) * self._per_event + split.first_slot // self._slots
        places = self._find(numbers, start + len(counts))
        if not self._all_filtered:
            return None
        particles = np.empty((int(counts.sum()), _N_PARTICLE), np.float32)
        for block, rows in split.blocks(self._slots):
            padded = self._padded(self._addresses[places[block]], self._sizes[places[block]])
            filled = split.filled[block].tolist()
            np.concatenate(
                [chunk[:n] for chunk, n in zip(padded, filled, strict=True)], out=particles[rows]
            )
        return particles

    def _find(self, numbers: IntArray, stop: int) -> IntArray:
        """Where in the index the chunks of these numbers are, all of events below stop."""
        if stop > self._indexed_events:
            # The first of many events cost what lies before them; whoever asks on wants all.
            few = self._indexed_events == 0 and 4 * stop < len(self._dataset)
            self._index(stop if few else len(self._dataset))
        places = np.searchsorted(self._numbers, numbers)
        found = places < len(self._numbers)
        if not (found.all() and (self._numbers[places] == numbers).all()):
            if self._indexed_events < len(self._dataset):  # an index in no order
                self._index(len(self._dataset))
                return self._find(numbers, stop)
            raise ValueError("a chunk of particles is missing")
        return places

    def _index(self, stop: int) -> None:
        """Ask the library once for the addresses of the chunks of all events before stop."""
        flat = array("q")
        slots, per_event = self._slots, self._per_event

        def add(chunk: h5py.h5d.StoreInfo) -> bool | None:
            (event, slot, _), skipped_filters, address, size = chunk
            if event >= stop:
                return True
            flat.extend((event * per_event + slot // slots, address, size, skipped_filters))
            return None

        self._dataset.id.chunk_iter(add)
        table = np.frombuffer(flat, np.int64).reshape(-1, 4)
        table = table[np.argsort(table[:, 0], kind="stable")]
        self._numbers, self._addresses, self._sizes = (table[:, k].copy() for k in range(3))
        self._all_filtered = not table[:, 3].any()
        self._indexed_events = stop

    def _padded(self, addresses: IntArray, sizes: IntArray) -> Float32Array:
        """(n, slots, 6) float32: the contents of these chunks."""
        size = self._slots * _ROW_BYTES
        packed: Sequence[bytes | memoryview] = self._fetch(addresses, sizes)
        if self._compressed:
            kept = (sizes - self._trailer).tolist()
            packed = [
                isal_zlib.decompress(data[:n], bufsize=size)
                for data, n in zip(packed, kept, strict=True)
            ]
        if set(map(len, packed)) - {size}:
            raise ValueError("a chunk has the wrong size")
        joined = np.frombuffer(b"".join(packed), np.uint8)
        if self._compressed:
            planes = joined.reshape(len(packed), 4, -1)
            joined = np.empty((len(packed), planes.shape[2], 4), np.uint8)
            for byte in range(4):
                joined[:, :, byte] = planes[:, byte]
        return joined.view("<f4").reshape(len(packed), self._slots, _N_PARTICLE)

    def _fetch(self, addresses: IntArray, sizes: IntArray) -> list[memoryview]:
        """The stored bytes of these chunks, which mostly lie one behind the other."""
        first, last = int(addresses.min()), int((addresses + sizes).max())
        if last - first > 2 * int(sizes.sum()):
            pairs = zip(addresses.tolist(), sizes.tolist(), strict=True)
            return [memoryview(self._bytes_at(address, size)) for address, size in pairs]
        data = memoryview(self._bytes_at(first, last - first))
        begins = (addresses - first).tolist()
        ends = (addresses - first + sizes).tolist()
        return [data[begin:end] for begin, end in zip(begins, ends, strict=True)]
