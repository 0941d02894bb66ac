"""Sampling: what an event depends on, what is refused, and that a trivial model gives its prior."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from hitools.core.batch import EventBatch
from hitools.core.diffusion.solvers import SOLVERS
from hitools.core.errors import InputError
from hitools.core.features import EVENT_INDEX, particle_features
from hitools.core.format.meta import EventMeta
from hitools.core.generator import Generator
from hitools.core.model.folder import ModelConfig
from hitools.core.model.sampling import SMALL, Sampling, halvings
from hitools.core.nets.config import NetConfig
from hitools.core.nets.model import Denoiser
from hitools.core.nets.rotary_config import RotaryConfig
from hitools.core.nets.rotary_net import RotaryNet
from hitools.core.representation.aligned import Aligned
from hitools.core.scaling import Standardised
from hitools.core.selection import Selection
from tests.core.nets.support import random_events

CPU = torch.device("cpu")
TINY = NetConfig(width=8, n_heads=2, n_blocks=1, n_head_blocks=1, n_neighbours=3, layer_scale=0.5)

SIZES = RotaryConfig(16, 1, 24, n_blocks=2, n_feedbacks=1, event_width=16, slice_width=16)


@pytest.fixture(scope="module")
def few(oo) -> EventBatch:
    return oo.take(np.flatnonzero((oo.n_particles > 0) & (oo.n_particles < 60)))


@pytest.fixture(scope="module")
def config(few) -> ModelConfig:
    return ModelConfig(
        network=TINY,
        representation=Standardised.fit([few], log_columns=("n_particles",), eta_max=2.5),
        meta=EventMeta(system="O-O"),
        training={},
        data={"n_particles": int(few.offsets[-1]), "n_train": len(few)},
        sampling={},
    )


def random_model(kind: type[Denoiser] = Denoiser, network: NetConfig = TINY) -> Denoiser:
    """Random weights everywhere: nothing cancels."""
    torch.manual_seed(3)
    model = kind(network)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return model


def generator(config, model=None, sampling=None, **settings) -> Generator:
    sampling = sampling or Sampling(seed=5, steps=3, event_steps=3)
    return Generator(model or random_model(), config, sampling, CPU, **settings)


def joined(batches) -> EventBatch:
    return EventBatch.concatenate(list(batches))


def assert_same(one: EventBatch, other: EventBatch) -> None:
    """Equal to rounding; angles may differ by a turn."""
    np.testing.assert_array_equal(one.offsets, other.offsets)
    np.testing.assert_allclose(one.events, other.events, rtol=1e-5, atol=1e-5)
    difference = one.particles.astype(np.float64) - other.particles
    difference[:, [0, 5]] = np.sin(difference[:, [0, 5]] / 2)
    np.testing.assert_allclose(difference, 0, atol=2e-5)


@pytest.mark.parametrize("solver", SOLVERS)
def test_event_k_depends_on_seed_and_k_alone(config, solver):
    # With few steps midpoint ends thousands of standard deviations outside the data, where
    # rounding, relative as it is, is large: see the next test.
    settings = {"steps": 32, "grid": "cosine"} if solver == "midpoint" else {"steps": 3}
    sampling = Sampling(seed=5, solver=solver, event_steps=settings["steps"], **settings)
    whole = joined(generator(config, sampling=sampling).sample(12))
    assert len(whole) == 12
    alone = generator(config, sampling=sampling, budget=20)
    for k in (0, 4, 11):
        assert_same(alone.make(range(k, k + 1)), whole[k : k + 1])


@pytest.mark.parametrize(
    ("hard_from", "vector_parts", "whole_below"), [(None, 0, 0), (2.0, 8, 0), (2.0, 8, 40)]
)
def test_event_k_of_the_rotary_network_depends_on_seed_and_k_alone(
    few, config, hard_from, vector_parts, whole_below
):
    scaling = Aligned.fit([few], hard_from=hard_from, whole_below=whole_below, eta_max=2.5)
    sizes = replace(SIZES, vector_parts=vector_parts)
    rotary = replace(config, representation=scaling, network=sizes)
    torch.manual_seed(3)
    model = RotaryNet(sizes, scaling)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.03 * torch.randn_like(weight))
    whole = joined(generator(rotary, model).sample(12))
    alone = generator(rotary, model, budget=20)
    for k in (0, 4, 11):
        assert_same(alone.make(range(k, k + 1)), whole[k : k + 1])
    # Hard particles are those that were drawn first: none of the others becomes one.
    pt = np.split(whole.particle("pt"), whole.offsets[1:-1])
    threshold = float(scaling.pt.decode(torch.tensor(2.0)).exp())
    if hard_from is not None:
        vectors = generator(rotary, model)
        drawn = vectors.to_draw(np.arange(12), whole.events, whole.offsets)
        assert int(drawn.n_known.sum()) > 3
        whole_events = whole.n_particles < whole_below
        assert bool(whole_events.any()) == bool(whole_below)
        assert not whole_events.all()
        for one, n_hard, is_whole in zip(pt, drawn.n_known.tolist(), whole_events, strict=True):
            if is_whole:  # all of them were, from the hardest down
                assert n_hard == len(one)
                assert (np.diff(one) <= 0).all()
                continue
            assert (one[:n_hard] >= 0.999 * threshold).all()
            assert (one[n_hard:] <= 1.001 * threshold).all()
    # They know no direction of the laboratory, so mean phi is what their particles have.
    follows = whole.event("mean_phi") == whole.recomputed().event("mean_phi")
    np.testing.assert_array_equal(follows, whole.n_particles < whole_below)
    # What the event vector fixes is what the vector itself says, before any particle.
    assert (
        np.abs(whole.event("sum_pt") / whole.event("mean_pt") / whole.n_particles - 1).max() < 1e-5
    )


def test_corrections_bring_particles_to_what_their_event_says(oo, config):
    scaling = Aligned.fit([oo], eta_max=2.5)
    sizes = replace(SIZES, vector_parts=0)
    rotary = replace(config, representation=scaling, network=sizes)
    torch.manual_seed(3)
    model = RotaryNet(sizes, scaling)

    def off_by(corrections):
        sampling = Sampling(seed=5, steps=4, event_steps=4, corrections=corrections)
        made = joined(generator(rotary, model, sampling).sample(60))
        made = made.take(np.flatnonzero(made.n_particles >= SMALL))
        again = made.recomputed()
        names = ("q_x", "q_y", "sum_pt")
        return np.array([np.std(made.event(name) - again.event(name)) for name in names])

    assert (off_by(1) < 0.75 * off_by(0)).all()
    assert (off_by(2) < off_by(1)).all()


def test_corrections_need_sums(config):
    with pytest.raises(InputError, match="corrections: 0 expected"):
        generator(config, sampling=Sampling(seed=5, corrections=1))


def test_small_events_take_more_steps_and_a_solver_of_their_own(config, monkeypatch):
    """Each by its own number of particles, whatever it is made together with."""

    def made(small, **steps):
        monkeypatch.setattr("hitools.core.model.sampling.SMALL", small)
        sampling = Sampling(seed=5, small_solver="sab2", **steps)
        return joined(generator(config, sampling=sampling).sample(24))

    plain = made(1, steps=2)
    third = int(np.quantile(plain.n_particles, 2 / 3))
    mixed = made(third, steps=2, small_steps=6)
    size = np.minimum(halvings(plain.n_particles), 2)
    for number, same in ((0, plain), (1, made(10**9, steps=4)), (2, made(10**9, steps=6))):
        some = np.flatnonzero(size == number)
        assert some.size
        assert_same(mixed.take(some), same.take(some))
        if number:
            with pytest.raises(AssertionError):
                assert_same(plain.take(some), same.take(some))


def test_event_vectors_take_even_steps_where_particles_take_finer_ones(config):
    index = np.arange(20)

    def vectors(grid):
        sampling = Sampling(seed=5, steps=3, event_steps=4, grid=grid)
        return generator(config, sampling=sampling).draw_vectors(index, np.zeros_like(index))[0]

    np.testing.assert_array_equal(vectors("power"), vectors("uniform"))
    assert np.abs(vectors("cosine") - vectors("uniform")).max() > 0.01


@pytest.mark.parametrize(("steps", "grid"), [(3, "uniform"), (32, "uniform"), (8, "cosine")])
def test_midpoint_s_samples_far_outside_the_data_are_the_same_relative_to_their_size(
    few, steps, grid
):
    """Without local layers, whose choice among equally near neighbours is not continuous."""
    model = random_model(network=replace(TINY, n_local_layers=0))
    counts = few.n_particles[:12].tolist()
    noise, _, vectors, offsets = random_events(counts)

    @torch.no_grad()
    def sampled(rows: slice, events: slice) -> torch.Tensor:
        part = offsets[events.start : events.stop + 1] - offsets[events.start]
        times = torch.ones(events.stop - events.start)
        return SOLVERS["midpoint"].solve(
            lambda x, t: model.particle_velocity(x, t * times, vectors[events], part),
            noise[rows],
            steps,
            grid,
        )

    together = sampled(slice(0, len(noise)), slice(0, 12))
    assert together.abs().max() > 10  # standard deviations
    for k in range(12):
        rows = slice(int(offsets[k]), int(offsets[k + 1]))
        alone = sampled(rows, slice(k, k + 1))
        assert (alone - together[rows]).norm() <= 1e-5 * together[rows].norm()


def test_a_longer_sample_begins_with_the_shorter_one(config):
    short, long = (joined(generator(config).sample(n)) for n in (3, 9))
    assert_same(long[:3], short)


def test_another_seed_gives_other_events(config):
    one, other = (
        generator(config, sampling=Sampling(seed=seed, steps=2, event_steps=2)).make(range(6))
        for seed in (1, 2)
    )
    assert not np.intersect1d(one.events[:, 0], other.events[:, 0]).size


def test_blocks_cover_every_event_once_and_begin_with_one(config):
    blocks = generator(config, budget=100).blocks(1000)
    assert list(itertools.chain(*blocks)) == list(range(1000))
    assert len(blocks[0]) == 1
    assert max(map(len, blocks)) <= 100  # 16 passes of 100 particles, of 30 an event or so
    assert generator(config).blocks(0) == []


def test_an_untrained_event_branch_gives_back_the_prior(config):
    """Zero velocity is exact for standard normal data: the samples are N(mean, std) of the data."""
    model = Denoiser(TINY)  # its output weights begin at zero
    sampler = generator(config, model, Sampling(seed=1, steps=1, event_steps=8))
    events, _ = sampler.draw_vectors(np.arange(4000), np.zeros(4000, np.int64))
    scaling = config.representation
    for name in ("q_x", "q_y", "mean_eta", "mean_phi"):
        column = EVENT_INDEX[name]
        assert events[:, column].mean() == pytest.approx(
            scaling.events.mean[column], abs=4 * scaling.events.std[column] / np.sqrt(4000)
        )
        assert events[:, column].std() == pytest.approx(scaling.events.std[column], rel=0.06)


def test_events_are_consistent_and_inside_the_selection(config, few):
    batch = joined(generator(config).sample(20))
    np.testing.assert_array_equal(batch.event("n_particles"), batch.n_particles)
    assert batch.n_particles.min() >= 1
    assert batch.n_particles.max() <= few.n_particles.max()
    assert batch.particle("pt").min() > 0
    assert np.abs(batch.particle("eta")).max() <= 2.5
    assert np.abs(batch.particle("phi")).max() <= np.float32(np.pi)
    # Relative features refer to the generated event vector.
    np.testing.assert_array_equal(
        batch.particles,
        particle_features(
            *(batch.particle(name) for name in ("pt", "eta", "phi")), batch.offsets, batch.events
        ),
    )


def test_values_that_no_event_has_are_counted(config):
    wild = random_model()
    with torch.no_grad():
        wild.head.out.bias.fill_(-9)
        wild.event.out.bias.fill_(-9)
    sampler = generator(config, wild)
    joined(sampler.sample(10))
    assert sampler.mended.events > 5
    assert sampler.mended.eta > 50
    assert "event vectors" in str(sampler.mended)


def test_like_takes_the_event_vectors_of_a_file_in_turn(config, few):
    vectors = few.events[:5]
    batch = joined(generator(config, like=vectors).sample(12))
    np.testing.assert_array_equal(batch.events, vectors[np.arange(12) % 5])
    np.testing.assert_array_equal(batch.n_particles, few.n_particles[np.arange(12) % 5])
    # The second time round the particles are others.
    assert not np.array_equal(batch[:1].particles, batch[5:6].particles)


def test_like_takes_an_event_without_particles_too(config, few):
    vectors = few.events[:3].copy()
    vectors[1] = 0
    batch = joined(generator(config, like=vectors).sample(3))
    np.testing.assert_array_equal(batch.n_particles, [few.n_particles[0], 0, few.n_particles[2]])


def test_a_selection_holds_for_every_event_and_is_the_first_draw_that_fits(config):
    select = Selection("mean_eta > 0.2 and n_particles > 20")
    sampler = generator(config, select=select)
    batch = joined(sampler.sample(10))
    assert select(batch.events).all()
    for k in range(10):
        draw = 0
        while True:
            events, _ = sampler.draw_vectors(np.array([k]), np.array([draw]))
            if select(events)[0]:
                break
            draw += 1
        np.testing.assert_allclose(batch.events[k], events[0], rtol=1e-4, atol=1e-4)


def test_mean_phi_that_follows_from_particles_cannot_be_selected(few, config):
    scaling = Aligned.fit([few], hard_from=2.0, whole_below=40, eta_max=2.5)
    sizes = replace(SIZES, vector_parts=8)
    rotary = replace(config, representation=scaling, network=sizes)
    for expression in ("mean_phi > 0", "b < 5 and abs(mean_phi) < 1"):
        with pytest.raises(InputError, match="mean_phi of events below 40 particles follows"):
            generator(rotary, RotaryNet(sizes, scaling), select=Selection(expression))
    generator(rotary, RotaryNet(sizes, scaling), select=Selection("mean_eta > 0"))
    generator(config, select=Selection("mean_phi > 0"))


def test_a_selection_that_nothing_meets_ends_in_bounded_time(config):
    with pytest.raises(InputError, match=r"'b > 50': none of \d+ event vectors"):
        generator(config, select=Selection("b > 50")).make(range(1))


def test_an_unknown_solver_is_refused():
    with pytest.raises(InputError, match="solver 'rk4', expected one of ddim"):
        Sampling(seed=1, solver="rk4")


class Forgetful(Denoiser):
    """A device with memory for so many particles."""

    room = 80

    def particle_velocity(self, x, *rest):
        if len(x) > self.room:
            raise torch.OutOfMemoryError
        return super().particle_velocity(x, *rest)


def test_out_of_memory_halves_the_budget_and_changes_nothing(config, caplog):
    forgetful = joined(generator(config, random_model(Forgetful), budget=500).sample(12))
    assert_same(forgetful, joined(generator(config).sample(12)))
    assert "out of GPU memory" in caplog.text
