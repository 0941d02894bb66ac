"""The counter-based random numbers against the published test vectors and against statistics."""

import numpy as np
import pytest
import torch
from scipy import stats

from hitools.core.noise import NoiseKey, normals, philox, uniforms

# Known answers of the Random123 library, file kat_vectors, philox4x32 10.
KNOWN_ANSWERS = [
    (
        "00000000 00000000 00000000 00000000",
        "00000000 00000000",
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    ),
    (
        "ffffffff ffffffff ffffffff ffffffff",
        "ffffffff ffffffff",
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


def hexadecimal(words: str) -> list[int]:
    return [int(word, 16) for word in words.split()]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_philox_gives_the_published_known_answers(counter, key, answer):
    words = tuple(torch.tensor([word]) for word in hexadecimal(counter))
    k0, k1 = hexadecimal(key)
    assert [int(word) for word in philox(words, (k0, k1))] == hexadecimal(answer)


def rows(n_events: int, n_rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    return (
        torch.arange(n_events).repeat_interleave(n_rows),
        torch.arange(n_rows).repeat(n_events),
    )


def test_normals_are_standard_normal_and_uncorrelated():
    numbers = normals(NoiseKey.of(1, "training particles"), *rows(200, 250), 6).numpy()
    assert stats.kstest(numbers.ravel(), "norm").pvalue > 1e-3
    correlation = np.corrcoef(numbers.T) - np.eye(6)
    assert np.abs(correlation).max() < 5 / np.sqrt(len(numbers))
    assert abs(np.corrcoef(numbers[1:, 0], numbers[:-1, 0])[0, 1]) < 5 / np.sqrt(len(numbers))


def test_uniforms_are_uniform_inside_the_open_interval():
    numbers = uniforms(NoiseKey.of(1, "training time"), torch.arange(50_000)).numpy()
    assert stats.kstest(numbers, "uniform").pvalue > 1e-3
    assert numbers.min() > 0
    assert numbers.max() < 1


def test_a_number_depends_on_its_place_alone():
    key = NoiseKey.of(5, "sampled particles")
    event, row = rows(7, 9)
    together = normals(key, event, row, 6, turn=3)
    order = torch.randperm(len(event), generator=torch.Generator().manual_seed(0))
    assert torch.equal(normals(key, event[order], row[order], 6, turn=3), together[order])


def test_seed_purpose_event_row_and_turn_each_change_the_number():
    one = torch.tensor([1])
    numbers = {
        float(normals(NoiseKey.of(seed, purpose), one * event, one * row, 1, turn))
        for seed in (0, 1)
        for purpose in ("sampled event", "sampled particles")
        for event in (0, 1, 2**32, 2**40 + 1)
        for row in (0, 1)
        for turn in (0, 1)
    }
    assert len(numbers) == 2 * 2 * 4 * 2 * 2
