"""Hashes: fixed for good, independent of order and batches, different where events differ."""

from itertools import pairwise

import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.hashing import event_fingerprints, hash_index, scramble
from tests.core.toys import toy_events


def splitmix64(state: int, n: int) -> list[int]:
    """Steele, Lea and Flood's generator in plain integers."""
    out = []
    for _ in range(n):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        out.append(z ^ (z >> 31))
    return out


def test_hash_of_an_index_is_the_output_of_splitmix64():
    start = int(np.random.SeedSequence(5).generate_state(1, np.uint64)[0])
    assert hash_index(np.arange(4), 5).tolist() == splitmix64(start, 4)


def test_no_two_words_of_a_sample_become_one():
    assert len(np.unique(scramble(np.arange(100_000, dtype=np.uint64)))) == 100_000


def shuffled_within_events(batch: EventBatch, seed: int) -> EventBatch:
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(np.arange(a, b)) for a, b in pairwise(batch.offsets)])
    return EventBatch(batch.events, batch.particles[order], batch.offsets, batch.weights)


def test_fingerprints_do_not_depend_on_the_order_of_particles_or_on_batches(oo):
    whole = event_fingerprints(oo)
    assert len(np.unique(whole)) == len(oo)
    np.testing.assert_array_equal(event_fingerprints(shuffled_within_events(oo, 1)), whole)
    np.testing.assert_array_equal(
        np.concatenate([event_fingerprints(oo[:50]), event_fingerprints(oo[50:])]), whole
    )


def test_fingerprints_see_the_particles_and_nothing_else():
    batch = toy_events(50)
    whole = event_fingerprints(batch)
    other_vectors = EventBatch(batch.events + 1, batch.particles, batch.offsets)
    np.testing.assert_array_equal(event_fingerprints(other_vectors), whole)
    particles = batch.particles.copy()
    particles[:, 3:] = particles[:, [4, 3, 5]]  # pT and eta exchanged
    assert not np.any(
        event_fingerprints(EventBatch(batch.events, particles, batch.offsets)) == whole
    )


def test_a_negative_zero_is_a_zero_and_an_empty_event_has_no_fingerprint():
    def one(eta: float, n: int) -> int:
        column = np.full(n, 1.0)
        batch = EventBatch.from_particles(
            column, column * eta, column, np.array([n]), *np.ones((3, 1))
        )
        return int(event_fingerprints(batch)[0])

    assert one(0.0, 1) == one(-0.0, 1) != 0
    assert one(0.0, 0) == 0
