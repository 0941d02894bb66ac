"""Rotary attention against a loop over pairs, and the symmetry that it is there for."""

import math

import pytest
import torch

from hitools.core.nets.layout import Layout
from hitools.core.nets.rotary import ETA_FREQUENCIES, PHI_FREQUENCIES, RotaryAttention, Turn
from tests.core.nets.support import offsets_of

COUNTS = [7, 1, 12]
HEADS, CHANNELS = 2, 28
CPU = torch.device("cpu")


def example() -> tuple[RotaryAttention, torch.Tensor, torch.Tensor, torch.Tensor, Layout]:
    torch.manual_seed(2)
    attention = RotaryAttention(16, HEADS, CHANNELS)
    n = sum(COUNTS)
    eta, phi = 5 * torch.rand(n) - 2.5, 2 * math.pi * torch.rand(n)
    return attention, torch.randn(n, 16), eta, phi, Layout.from_offsets(offsets_of(COUNTS), CPU)


def test_a_pair_of_particles_sees_the_difference_of_their_positions():
    """Against complex phases written out pair by pair: q_i k_j* e^(i f (pos_i - pos_j))."""
    attention, x, eta, phi, layout = example()
    n_pairs = CHANNELS // 2
    out = attention(x, Turn(eta, phi, n_pairs), layout)
    frequencies = [(f, phi) for f in PHI_FREQUENCIES] + [(f, eta) for f in ETA_FREQUENCIES]
    frequencies += [(0.0, phi)] * (n_pairs - len(frequencies))
    with torch.no_grad():
        qkv = attention.qkv(x).view(-1, 3, HEADS, CHANNELS).double()
        complex_qkv = torch.complex(qkv[..., :n_pairs], qkv[..., n_pairs:])
        start = 0
        for count in COUNTS:
            rows = range(start, start + count)
            collected = torch.zeros(count, HEADS, CHANNELS, dtype=torch.float64)
            for i in rows:
                for head in range(HEADS):
                    phase = torch.stack(
                        [
                            torch.tensor([f * float(pos[j] - pos[i]) for f, pos in frequencies])
                            for j in rows
                        ]
                    ).double()
                    turned = torch.polar(torch.ones_like(phase), phase)
                    keys = complex_qkv[start : start + count, 1, head] * turned
                    values = complex_qkv[start : start + count, 2, head] * turned
                    logits = (complex_qkv[i, 0, head].conj() * keys).real.sum(1)
                    share = (logits / math.sqrt(CHANNELS)).softmax(0)
                    seen = (share[:, None] * values).sum(0)
                    collected[i - start, head] = torch.cat([seen.real, seen.imag])
            expected = attention.out(collected.flatten(1).float())
            torch.testing.assert_close(out[start : start + count], expected, rtol=1e-4, atol=1e-5)
            start += count


@pytest.mark.parametrize(("d_eta", "d_phi"), [(0.7, 0.0), (0.0, 1.9), (-0.3, 2 * math.pi)])
def test_moving_all_particles_together_changes_nothing(d_eta, d_phi):
    attention, x, eta, phi, layout = example()
    here = attention(x, Turn(eta, phi, CHANNELS // 2), layout)
    there = attention(x, Turn(eta + d_eta, phi + d_phi, CHANNELS // 2), layout)
    torch.testing.assert_close(there, here, rtol=1e-4, atol=1e-5)


def test_moving_one_particle_changes_the_others():
    attention, x, eta, phi, layout = example()
    here = attention(x, Turn(eta, phi, CHANNELS // 2), layout)
    phi = phi.clone()
    phi[0] += 1.0
    there = attention(x, Turn(eta, phi, CHANNELS // 2), layout)
    moved = (there - here).abs().amax(1) > 1e-4
    assert moved[: COUNTS[0]].all()
    assert not moved[COUNTS[0] :].any()
