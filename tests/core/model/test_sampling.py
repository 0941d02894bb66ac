"""Which events take how many steps."""

import numpy as np
import pytest

from hitools.core.errors import InputError
from hitools.core.model.sampling import SMALL, Sampling, halvings, most_steps


def test_steps_double_with_each_halving_of_particles_up_to_the_most():
    counts = np.array([500, 128, 127, 64, 63, 32, 31, 1, 0])
    np.testing.assert_array_equal(halvings(counts), [0, 0, 1, 1, 2, 2, 3, 7, 7])
    parts = Sampling(seed=1, steps=4, small_steps=16, small_solver="sab2").parts(counts)
    of_event = [("", 0)] * len(counts)
    for solver, steps, some in parts:
        of_event[some] = [(solver, steps)] * len(counts[some])
    assert of_event == [("ab2", 4)] * 2 + [("sab2", 8)] * 2 + [("sab2", 16)] * 5
    # Steps in between: never more than the most, nor fewer than those of large events.
    between, beyond = Sampling(1, steps=6, small_steps=16), Sampling(1, steps=32, small_steps=16)
    assert [n for _, n, _ in between.parts(counts)] == [6, 12, 16]
    assert [n for _, n, _ in beyond.parts(counts)] == [32]


def test_parts_cover_all_events_once():
    counts = -np.sort(-np.random.default_rng(3).integers(0, 400, 1000))
    parts = [some for *_, some in Sampling(1, steps=4, small_steps=8).parts(counts)]
    assert [some.start for some in parts[1:]] == [some.stop for some in parts[:-1]]
    assert (parts[0].start, parts[-1].stop) == (0, len(counts))
    small = [some for some in parts if counts[some].max() < SMALL]
    assert sum(some.stop - some.start for some in small) == (counts < SMALL).sum()
    assert list(Sampling(1).parts(counts[:0])) == []


def test_a_solver_that_is_asked_for_is_for_events_of_all_sizes():
    of_model = {"solver": "ab2", "small_solver": "sab2", "steps": 4}
    assert Sampling.of(3, of_model, {"steps": 9}) == Sampling(3, "ab2", 9, "sab2")
    assert Sampling.of(3, of_model, {"solver": "heun"}) == Sampling(3, "heun", 4)
    with pytest.raises(InputError, match="'rk4'"):
        Sampling(1, small_solver="rk4")


def test_the_smallest_event_that_is_sampled_takes_the_most_steps():
    for fewest, expected in ((1, 16), (32, 16), (33, 16), (64, 8), (65, 8), (128, 4), (1000, 4)):
        assert most_steps(fewest, 4, 16) == expected
        sampling = Sampling(1, steps=4, small_steps=16)
        sizes = np.arange(2000, fewest - 1, -1)
        assert max(steps for _, steps, _ in sampling.parts(sizes)) == expected
