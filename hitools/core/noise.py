"""Random numbers that depend on seed, purpose, event and place alone: for training and sampling.

A counter-based generator (Philox 4x32-10) has no state to carry along: every number is a function
of where it is used. So noise does not depend on how events are batched, on the number of processes
or on what was drawn before, a run that was killed continues exactly, and a whole batch is drawn in
one pass on the device that uses it.
"""

from dataclasses import dataclass
from math import pi
from typing import Final

import numpy as np
import torch
from torch import Tensor

_LOW32: Final = 0xFFFFFFFF
_MULTIPLIERS: Final = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS: Final = (0x9E3779B9, 0xBB67AE85)
_ROUNDS: Final = 10

PURPOSES: Final = (
    "training time",
    "training event",
    "training particles",
    "validation time",
    "validation event",
    "validation particles",
    "sampled event",
    "sampled particles",
    "event solver",
    "particle solver",
    "training symmetry",
    "sampled slices",
    "slice solver",
    "sampled hard",
)
"""What noise is drawn for; each has a stream of its own. Append only: positions are seeds."""


@dataclass(frozen=True)
class NoiseKey:
    """The two key words of a stream of random numbers."""

    words: tuple[int, int]

    @classmethod
    def of(cls, seed: int, purpose: str) -> "NoiseKey":
        """The stream of this seed for one of PURPOSES. Raises ValueError for another purpose."""
        words = np.random.SeedSequence([seed, PURPOSES.index(purpose)]).generate_state(2, np.uint32)
        return cls((int(words[0]), int(words[1])))


def philox(
    counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Philox 4x32 with 10 rounds (Salmon et al., SC 2011, doi:10.1145/2063384.2063405).

    Args:
        counter: four int64 tensors of one shape, each holding 32-bit words.
        key: two 32-bit words.

    Returns:
        Four int64 tensors of that shape with 32 random bits each.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        # The product of two 32-bit words wraps around in int64, but its 64 bits are the right ones.
        product0, product1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0 = ((product1 >> 32) & _LOW32).bitwise_xor_(c1).bitwise_xor_(k0)
        c2 = ((product0 >> 32) & _LOW32).bitwise_xor_(c3).bitwise_xor_(k1)
        c1 = product1.bitwise_and_(_LOW32)
        c3 = product0.bitwise_and_(_LOW32)
        k0, k1 = (k0 + _KEY_STEPS[0]) & _LOW32, (k1 + _KEY_STEPS[1]) & _LOW32
    return c0, c1, c2, c3


def _words(
    key: NoiseKey, event: Tensor, row: Tensor, n_blocks: int, turn: int | Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four words for each of n_blocks blocks of every row, each (n_rows, n_blocks)."""
    block = row[:, None] * n_blocks + torch.arange(n_blocks, device=row.device)
    shape = block.shape
    if not isinstance(turn, torch.Tensor):
        turn = torch.full_like(row, turn)
    counter = (
        block & _LOW32,
        turn[:, None].expand(shape).clone(),
        (event & _LOW32)[:, None].expand(shape).clone(),
        (event >> 32)[:, None].expand(shape).clone(),
    )
    return philox(counter, key.words)


def normals(
    key: NoiseKey, event: Tensor, row: Tensor, width: int, turn: int | Tensor = 0
) -> Tensor:
    """Standard normal numbers by the Box-Muller transform.

    Args:
        key: the stream.
        event: (n_rows,) int64 index of each row's event, from 0 up to 2^63.
        row: (n_rows,) int64 place of each row in its event: the particle.
        width: numbers per row.
        turn: epoch, solver step or attempt, for all rows or (n_rows,) int64; below 2^32.

    Returns:
        (n_rows, width) float32 on the device of event. Number j of a row is a function of
        (key, event, row, width, turn, j) alone, equal on every device to rounding.
    """
    w0, w1, w2, w3 = _words(key, event, row, -(-width // 4), turn)
    numbers = []
    for radius_bits, angle_bits in ((w0, w1), (w2, w3)):
        # In (0, 1]: the logarithm stays finite.
        radius = ((radius_bits + 1).float() * 2.0**-32).log_().mul_(-2).sqrt_()
        angle = angle_bits.float() * (2 * pi * 2.0**-32)
        numbers += [radius * angle.cos(), radius * angle.sin()]
    return torch.stack(numbers, dim=2).flatten(1)[:, :width].contiguous()


def uniforms(key: NoiseKey, event: Tensor, turn: int | Tensor = 0) -> Tensor:
    """A number in (0, 1) for each event: (n_events,) float32."""
    words, *_ = _words(key, event, torch.zeros_like(event), 1, turn)
    # 24 bits are what a float32 holds: no rounding up to 1.
    return ((words[:, 0] >> 8).float() + 0.5) * 2.0**-24
