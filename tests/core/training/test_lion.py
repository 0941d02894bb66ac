"""Lion against the algorithm of its paper, written out for one weight at a time in NumPy."""

import numpy as np
import pytest
import torch

from hitools.core.training.lion import Lion


def reference(weights, gradients, rate, beta1, beta2, decay):
    """Algorithm 2 of 2302.06675, line by line."""
    weights = weights.copy()
    momentum = np.zeros_like(weights)
    for gradient in gradients:
        update = np.sign(beta1 * momentum + (1 - beta1) * gradient)
        momentum = beta2 * momentum + (1 - beta2) * gradient
        weights = weights - rate * (update + decay * weights)
    return weights


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_lion_follows_its_paper(decay):
    rng = np.random.default_rng(0)
    start = rng.normal(size=(7, 3))
    gradients = rng.normal(size=(25, 7, 3))
    weight = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimiser = Lion([weight], lr=0.01, betas=(0.9, 0.97), weight_decay=decay)
    for gradient in gradients:
        weight.grad = torch.from_numpy(gradient)
        optimiser.step()
    expected = reference(start, gradients, 0.01, 0.9, 0.97, decay)
    np.testing.assert_allclose(weight.detach().numpy(), expected, rtol=1e-12)


def test_a_weight_without_gradient_stays():
    used, unused = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    used.grad = torch.ones(2)
    Lion([used, unused], lr=0.1).step()
    assert used.tolist() == pytest.approx([0.9, 0.9])
    assert unused.tolist() == [1, 1]


def test_lion_finds_the_minimum_of_a_bowl():
    weight = torch.nn.Parameter(torch.tensor([3.0, -2.0]))
    optimiser = Lion([weight], lr=0.01)
    for _ in range(600):
        optimiser.zero_grad()
        (weight.square() * torch.tensor([1.0, 50.0])).sum().backward()
        optimiser.step()
    assert weight.abs().max() < 0.5
