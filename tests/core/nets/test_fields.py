"""Fields around particles against a loop over pairs."""

import math

import numpy as np
import pytest
import torch

from hitools.core.nets import stacks
from hitools.core.nets.fields import (
    DENSITIES,
    ETA_RANGE,
    SOFT_PT,
    WIDTHS,
    fields,
    n_fields,
)
from hitools.core.nets.layout import Layout
from tests.core.nets.support import offsets_of

CPU = torch.device("cpu")


def example(counts: list[int]) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    n = sum(counts)
    eta = 5 * torch.rand(n, generator=generator) - 2.5
    phi = 2 * math.pi * torch.rand(n, generator=generator) - math.pi
    return eta, phi, torch.rand(n, generator=generator) * 3


def by_pairs(eta: np.ndarray, phi: np.ndarray, pt: np.ndarray) -> np.ndarray:
    """The definition, one pair at a time, in double precision."""
    n = len(eta)
    out = np.zeros((n, 9, len(WIDTHS)))
    for k, width in enumerate(WIDTHS):
        expected = (n - 1) * width**2 / ETA_RANGE
        for i in range(n):
            sums = np.zeros(9)
            for j in range(n):
                if i == j:
                    continue
                d_eta, d_phi = eta[j] - eta[i], phi[j] - phi[i]
                weight = math.exp(-(d_eta**2 + 2 - 2 * math.cos(d_phi)) / (2 * width**2))
                one = np.array([1, d_eta / width, math.sin(d_phi) / width])
                hard = pt[j] ** 2 / (pt[j] + SOFT_PT)
                sums += weight * np.concatenate([one, pt[j] * one, hard * one])
            sums[[0, 3, 6]] -= expected
            out[i, :, k] = sums / math.sqrt(expected + 1)
    return math.pi * np.arcsinh(out / math.pi).reshape(n, 9 * len(WIDTHS))


@pytest.mark.parametrize("padded", [False, True])
def test_fields_are_sums_over_the_other_particles_of_the_event(monkeypatch, padded):
    """As on the CPU, and in padded stacks and tiles as on a GPU."""
    if padded:
        monkeypatch.setattr("hitools.core.nets.fields.pieces", stacks.stacks)
        monkeypatch.setitem(stacks.LENGTH_RATIO, "cpu", 4.0)
    else:
        monkeypatch.setitem(stacks.TILE_ELEMENTS, "cpu", 300)
    counts = [23, 1, 0, 23, 60]
    eta, phi, pt = example(counts)
    layout = Layout.from_offsets(offsets_of(counts), CPU)
    found = fields(eta, phi, pt, len(DENSITIES), layout)
    assert found.shape == (sum(counts), n_fields(len(DENSITIES)))
    start = 0
    for count in counts:
        rows = slice(start, start + count)
        expected = by_pairs(*(one[rows].double().numpy() for one in (eta, phi, pt)))
        np.testing.assert_allclose(found[rows].numpy(), expected, atol=2e-4)
        start += count
    fewer = fields(eta, phi, pt, 2, layout)
    np.testing.assert_allclose(fewer, found[:, : fewer.shape[1]], atol=1e-6)


def test_fields_know_no_seam_in_phi():
    eta, phi, pt = example([40])
    layout = Layout.from_offsets(offsets_of([40]), CPU)
    there, here = (fields(eta, angle, pt, 3, layout) for angle in (phi + 2.5, phi))
    torch.testing.assert_close(there, here, rtol=0, atol=2e-4)


def test_a_particle_beside_a_jet_is_pulled_towards_it():
    eta = torch.tensor([0.0, 0.4, 0.4, 0.4])
    phi = torch.tensor([3.0, -3.0, -3.0, -3.0])  # across the seam: 0.28 ahead
    pull = fields(eta, phi, torch.ones(4), 3, Layout.from_offsets(offsets_of([4]), CPU))[0]
    for _, in_eta, in_phi in pull.view(3, 3, len(WIDTHS)):
        assert (in_eta > 0).all()
        assert (in_phi > 0).all()
