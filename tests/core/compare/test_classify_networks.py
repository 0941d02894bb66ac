"""The networks: order of particles, padding, neighbours in a chunk and event vectors."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from hitools.core.batch import EventBatch
from hitools.core.compare.classify import networks
from hitools.core.compare.classify.dataset import LabelledEvents, Scaling, chunk
from tests.core.toys import toy_events

CPU = torch.device("cpu")


def events_of_many_sizes() -> LabelledEvents:
    """0, 1, 2, 300 and about 60 particles."""
    batch = toy_events(12, 3)
    counts = [0, 1, 2, 300]
    n = sum(counts)
    rng = np.random.default_rng(4)
    odd = EventBatch.from_particles(
        rng.exponential(0.5, n) + 0.1,
        rng.uniform(-2, 2, n),
        rng.uniform(-3, 3, n),
        np.array(counts),
        *np.ones((3, 4)),
    )
    return LabelledEvents.from_batches(batch, odd)


def network(name: str, *, with_event_vector: bool = False) -> torch.nn.Module:
    """In evaluation mode, with normalisation statistics from one training step."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        built = networks.build(name, with_event_vector=with_event_vector)
    built.train()
    built(seen(events_of_many_sizes()))
    return built.eval()


def seen(data: LabelledEvents, rows: np.ndarray | None = None):
    return chunk(
        data,
        np.arange(len(data)) if rows is None else rows,
        Scaling.of(events_of_many_sizes(), np.arange(16)),
        CPU,
    )


@pytest.fixture(params=["deepsets", "transformer"])
def particle_network(request):
    return network(request.param)


@torch.inference_mode()
def test_the_order_of_particles_does_not_matter(particle_network):
    data = events_of_many_sizes()
    rng = np.random.default_rng(5)
    order = np.concatenate([rng.permutation(np.arange(a, b)) for a, b in pairwise(data.offsets)])
    shuffled = replace(data, particles=data.particles[order])
    np.testing.assert_allclose(
        particle_network(seen(data)), particle_network(seen(shuffled)), atol=2e-5
    )


@torch.inference_mode()
def test_an_event_does_not_feel_the_others_in_its_chunk(particle_network):
    data = events_of_many_sizes()
    together = particle_network(seen(data))
    alone = torch.cat([particle_network(seen(data, np.array([k]))) for k in range(len(data))])
    assert torch.isfinite(together).all()
    np.testing.assert_allclose(together, alone, atol=2e-5)
    assert together.std() > 1e-4


@torch.inference_mode()
@pytest.mark.parametrize("name", ["deepsets", "transformer"])
def test_the_event_vector_is_seen_only_when_asked_for(name):
    data = events_of_many_sizes()
    other = replace(data, events=data.events + 5)
    blind, told = network(name), network(name, with_event_vector=True)
    assert torch.equal(blind(seen(data)), blind(seen(other)))
    assert not torch.allclose(told(seen(data)), told(seen(other)))


@torch.inference_mode()
def test_deep_sets_is_an_mlp_a_plain_mean_and_an_mlp():
    data = events_of_many_sizes()
    deepsets = network("deepsets")
    whole = seen(data)
    means = torch.zeros(len(data), networks.SET_WIDTH)
    for k in range(len(data)):
        mine = whole.particles[whole.event_of_particle == k]
        if len(mine):
            means[k] = torch.stack([deepsets.embed(row) for row in mine]).mean(0)
    np.testing.assert_allclose(deepsets(whole), deepsets.head(means, whole), atol=2e-5)


@torch.inference_mode()
def test_the_transformer_attends_as_the_textbook_formula_says():
    """One block on one event, attention written out: softmax(Q K^T / sqrt(d)) V."""
    transformer = network("transformer")
    block = transformer.blocks[0]
    x = torch.randn(1, 7, networks.TRANSFORMER_WIDTH, generator=torch.Generator().manual_seed(0))
    q, k, v = block.project_in(block.norm_attention(x))[0].chunk(3, dim=1)
    heads = []
    d = networks.TRANSFORMER_WIDTH // networks.TRANSFORMER_HEADS
    for h in range(networks.TRANSFORMER_HEADS):
        mine = slice(h * d, (h + 1) * d)
        heads.append(torch.softmax(q[:, mine] @ k[:, mine].T / d**0.5, dim=1) @ v[:, mine])
    y = x[0] + block.project_out(torch.cat(heads, dim=1))
    y = y + block.mlp(block.norm_mlp(y))
    np.testing.assert_allclose(block(x, torch.ones(1, 7, dtype=torch.bool))[0], y, atol=1e-5)


def test_the_transformer_sees_the_number_of_particles_before_thinning():
    data = events_of_many_sizes()
    transformer = network("transformer")
    with torch.inference_mode():
        before = transformer(seen(data))
        after = transformer(seen(replace(data, multiplicity=data.multiplicity + 50)))
    assert not torch.allclose(before, after)
