"""Hashes of numbers that are the same on every machine: for random choices event by event.

A choice that follows from (seed, index of the event) does not depend on how a stream was cut into
batches; a fingerprint of the particles recognises an event in another file.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from hitools.core.batch import EventBatch
from hitools.core.features import IntArray

UInt64Array = npt.NDArray[np.uint64]

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_ROUNDS: Final = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)


def mix(bits: UInt64Array) -> UInt64Array:
    """The finaliser of splitmix64: a bijection in which every input bit reaches all output bits."""
    for shift, factor in _ROUNDS:
        bits = (bits ^ (bits >> shift)) * factor
    return bits ^ (bits >> np.uint64(31))


def hash_index(index: IntArray, seed: int) -> UInt64Array:
    """(n,) the splitmix64 generator's outputs number `index` of the stream `seed`."""
    start = np.random.SeedSequence(seed).generate_state(1, np.uint64)
    return mix(start + (index.astype(np.uint64) + np.uint64(1)) * _GOLDEN)


def event_fingerprints(batch: EventBatch) -> UInt64Array:
    """(n_events,) a hash of each event's (pT, eta, phi), bit by bit, in any order of particles.

    Two different events share one by chance with a probability of 5e-20. 0 for an event without
    particles.
    """
    columns = np.stack([batch.particle(name) for name in ("pt", "eta", "phi")], axis=1)
    columns = columns + np.float32(0)  # -0.0 is 0.0
    bits = columns.view(np.uint32).astype(np.uint64)
    particles = np.zeros(len(bits), np.uint64)
    for column in bits.T:
        particles = mix(particles + column + _GOLDEN)
    sums = np.zeros(len(batch), np.uint64)
    filled = np.flatnonzero(batch.n_particles)
    if filled.size:
        sums[filled] = np.add.reduceat(particles, batch.offsets[filled])
    return sums
