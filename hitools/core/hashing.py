"""Hashes of numbers that are the same on every machine: for random choices event by event.

A choice that follows from (seed, index of the event) does not depend on how a stream was cut into
batches; a fingerprint of the particles recognises an event in another file.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from hitools.core.batch import EventBatch
from hitools.core.features import Float32Array, IntArray

UInt64Array = npt.NDArray[np.uint64]

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_ROUNDS: Final = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)


def scramble(words: UInt64Array) -> UInt64Array:
    """A permutation of 64-bit words that looks random: one step of splitmix64.

    Steele, Lea and Flood, OOPSLA 2014, figure 17 (constants of Stafford's variant 13).
    """
    words = words + _GOLDEN
    for shift, factor in _ROUNDS:
        words = (words ^ (words >> shift)) * factor
    return words ^ (words >> np.uint64(31))


def hash_index(index: IntArray, seed: int) -> UInt64Array:
    """(n,) the splitmix64 generator's outputs number `index` of the stream `seed`."""
    start = np.random.SeedSequence(seed).generate_state(1, np.uint64)
    return scramble(start + index.astype(np.uint64) * _GOLDEN)


def words_of(values: Float32Array) -> UInt64Array:
    """The bits of float32 values; 0 and -0 are the same."""
    return (values + np.float32(0)).view(np.uint32).astype(np.uint64)


def event_fingerprints(batch: EventBatch) -> UInt64Array:
    """(n_events,) a hash of each event's (pT, eta, phi), bit by bit, in any order of particles.

    Two different events share one by chance with a probability of 5e-20. 0 for an event without
    particles.
    """
    particles = np.zeros(len(batch.particles), np.uint64)
    for name in ("pt", "eta", "phi"):
        particles = scramble(particles + words_of(batch.particle(name)))
    sums = np.zeros(len(batch), np.uint64)
    filled = np.flatnonzero(batch.n_particles)
    if filled.size:
        sums[filled] = np.add.reduceat(particles, batch.offsets[filled])
    return sums
