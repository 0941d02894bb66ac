"""The gradient of a step: the same however it is cut, shared and padded."""

import numpy as np
import pytest
import torch

from hitools.core.batch import EventBatch
from hitools.core.budget import Budget
from hitools.core.errors import InputError
from hitools.core.nets.config import NetConfig
from hitools.core.nets.model import Denoiser
from hitools.core.nets.rotary_config import RotaryConfig
from hitools.core.nets.rotary_net import RotaryNet
from hitools.core.noise import NoiseKey
from hitools.core.representation.aligned import Aligned
from hitools.core.scaling import Standardised
from hitools.core.training.data import split
from hitools.core.training.feed import FileFeed, Sharing, Step
from hitools.core.training.resident import ResidentEvents
from hitools.core.training.step import Objective, Sums, means

CPU = torch.device("cpu")
ROTARY = RotaryConfig(width=16, n_heads=1, head_width=24, n_blocks=2, n_feedbacks=1, event_width=16)
TINY = NetConfig(width=8, n_heads=2, n_blocks=1, n_head_blocks=1, n_neighbours=3)


def small_model() -> Denoiser:
    torch.manual_seed(0)
    return Denoiser(TINY)


def objective(events: EventBatch, psi_weight: float = 0.0) -> Objective:
    return Objective(
        Standardised.fit([events], eta_max=2.5),
        NoiseKey.of(1, "training event"),
        NoiseKey.of(1, "training particles"),
        psi_weight,
    )


def first_step(
    events: EventBatch, process: int = 0, n_processes: int = 1, *, resident=False, turned=False
) -> Step:
    symmetry_key = NoiseKey.of(1, "training symmetry") if turned else None
    key = NoiseKey.of(1, "training time")
    sharing = Sharing(12, process, n_processes, key, symmetry_key, mirror_eta=True)
    data = split(events, 0, 0.2, 1000, 1)
    placed = ResidentEvents.on(data.events, CPU) if resident else None
    return next(FileFeed(data, sharing, 1, placed).steps(0, 1))


def gradient(events, steps, budget=2048, psi_weight=0.0, model=None):
    """Gradient and sums over these steps, as one flat vector and a list."""
    model = model or small_model()
    sums = Sums(CPU)
    for step in steps:
        objective(events, psi_weight).add(model, step, Budget(budget, CPU), sums, train=True)
    flat = torch.cat([weight.grad.flatten() for weight in model.parameters()])
    return flat.numpy(), sums.values.tolist()


def rotary_gradient(events, steps, budget):
    """The same for the rotary network, with all terms of its loss; event vectors at three times."""
    scaling = Aligned.fit([events], eta_max=2.5)
    it = Objective(
        scaling,
        NoiseKey.of(1, "training event"),
        NoiseKey.of(1, "training particles"),
        sums_weight=0.3,
        hardness=1.0,
        evenness=0.5,
        event_times=3,
    )
    torch.manual_seed(0)
    model = RotaryNet(ROTARY, scaling)
    sums = Sums(CPU)
    for step in steps:
        it.add(model, step, Budget(budget, CPU), sums, train=True)
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    return torch.cat([one.flatten() for one in gradients]).numpy(), sums.values.tolist()


@pytest.fixture
def few(oo) -> EventBatch:
    return oo.take(np.flatnonzero((oo.n_particles > 0) & (oo.n_particles < 90))[:30])


@pytest.mark.parametrize("psi_weight", [0.0, 0.3])
def test_the_gradient_does_not_depend_on_how_a_step_is_cut(few, psi_weight):
    whole, sums = gradient(few, [first_step(few)], 10**6, psi_weight)
    cut, cut_sums = gradient(few, [first_step(few)], 50, psi_weight)
    scale = np.abs(whole).max()
    np.testing.assert_allclose(cut, whole, atol=2e-6 * scale)
    np.testing.assert_allclose(cut_sums[:8], sums[:8], rtol=1e-5)
    assert (sums[-1], cut_sums[-1] > 5) == (1, True)


def test_the_loss_on_sums_does_not_depend_on_how_a_step_is_cut_and_shared(few):
    whole, sums = rotary_gradient(few, [first_step(few)], 10**6)
    cut, cut_sums = rotary_gradient(few, [first_step(few)], 50)
    parts = [rotary_gradient(few, [first_step(few, k, 2)], 10**6) for k in (0, 1)]
    scale = np.abs(whole).max()
    np.testing.assert_allclose(cut, whole, atol=2e-6 * scale)
    np.testing.assert_allclose(parts[0][0] + parts[1][0], whole, atol=2e-6 * scale)
    np.testing.assert_allclose(cut_sums[:8], sums[:8], rtol=1e-5)
    assert means(sums)["sums"] > 0


@pytest.mark.parametrize("turned", [False, True])
def test_a_step_is_the_same_wherever_its_events_are(few, turned):
    here, there = (first_step(few, resident=where, turned=turned) for where in (False, True))
    for work in (gradient, rotary_gradient):
        expected, sums = work(few, [here], 200)
        found, found_sums = work(few, [there], 200)
        np.testing.assert_allclose(found, expected, atol=2e-6 * np.abs(expected).max())
        np.testing.assert_allclose(found_sums, sums, rtol=1e-5)


def test_the_gradients_of_two_processes_add_up_to_that_of_one(few):
    whole, sums = gradient(few, [first_step(few)], psi_weight=0.3)
    parts = [gradient(few, [first_step(few, k, 2)], psi_weight=0.3) for k in (0, 1)]
    np.testing.assert_allclose(parts[0][0] + parts[1][0], whole, atol=2e-6 * np.abs(whole).max())
    np.testing.assert_allclose(np.add(parts[0][1], parts[1][1])[:9], sums[:9], rtol=1e-5)


def test_the_gradient_is_that_of_the_mean_loss(few):
    """Against a finite difference of the reported loss along the gradient."""
    step, model = first_step(few), small_model()
    flat, _ = gradient(few, [step], model=model)
    norm = np.linalg.norm(flat)

    def loss_at(distance: float) -> float:
        moved = small_model().double()
        with torch.no_grad():
            for weight, source in zip(moved.parameters(), model.parameters(), strict=True):
                weight.add_(distance / norm * source.grad.double())
        sums = Sums(CPU)
        objective(few).add(moved.float(), step, Budget(None, CPU), sums, train=False)
        parts = means(sums.values.tolist())
        return parts["event"] + parts["particle"]

    slope = (loss_at(0.01) - loss_at(-0.01)) / 0.02
    assert slope == pytest.approx(norm, rel=0.02)


def test_event_weights_weigh(few):
    """An event of weight 2 counts as twice the same event would, one of weight 0 not at all."""
    weights = np.ones(len(few), np.float32)
    step = first_step(few)
    weights[step.index[0]], weights[step.index[1]] = 2, 0
    weighted = EventBatch(few.events, few.particles, few.offsets, weights)
    _, sums = gradient(few, [first_step(weighted)])

    model, alone = small_model(), []
    for k in range(len(step.index)):
        one = Step(
            step.batch[k : k + 1],
            step.index[k : k + 1],
            0,
            step.t[k : k + 1],
            step.particle_t[k : k + 1],
            *(1, 1.0, 1.0, 0.0),
        )
        part = Sums(CPU)
        objective(few).add(model, one, Budget(None, CPU), part, train=False)
        alone.append(part.values.numpy())
    w = weights[step.index][:, None]
    np.testing.assert_allclose(sums[:6], (w * np.array(alone)[:, :6]).sum(0), rtol=1e-5)


def test_no_slot_of_a_step_on_real_o_o_events_is_padding(oo):
    """The network is handed exactly the particles there are, whatever their events' lengths."""
    model, rows = small_model(), []
    model.body.embed_hidden.register_forward_pre_hook(lambda _, x: rows.append(len(x[0])))
    step = first_step(oo)
    gradient(oo, [step], model=model)
    assert sum(rows) == step.batch.offsets[-1] == oo.n_particles[step.index].sum()
    assert max(rows) <= max(2048, oo.n_particles.max())


class Forgetful(Denoiser):
    """A device with memory for so many particles."""

    room = 60

    def particle_velocity(self, x, *rest):
        if len(x) > self.room:
            raise torch.OutOfMemoryError
        return super().particle_velocity(x, *rest)


@pytest.mark.parametrize("resident", [False, True])
def test_out_of_memory_halves_the_budget_and_gives_the_same_gradient(few, caplog, resident):
    events = few[:30].take(np.flatnonzero(few[:30].n_particles < 60))
    step = first_step(events, resident=resident)
    torch.manual_seed(0)
    flat, sums = gradient(events, [step], 400, model=Forgetful(TINY))
    whole, _ = gradient(events, [step], 60)
    np.testing.assert_array_equal(flat, gradient(events, [step], 50)[0])
    np.testing.assert_allclose(flat, whole, atol=2e-6 * np.abs(whole).max())
    assert "going on with 50 particles at once" in caplog.text
    assert sums[-2] == step.batch.offsets[-1]


def test_an_event_that_does_not_fit_alone_is_an_error(few):
    model = Forgetful(TINY)
    model.room = 1
    with pytest.raises(InputError, match="does not fit into the memory"):
        gradient(few, [first_step(few)], 400, model=model)


def test_noise_is_the_event_s_own(few):
    step = first_step(few)
    it = objective(few)
    z, x = it.noise(step.batch, torch.from_numpy(step.index), 11, 6, turn=2)
    picked = np.array([4, 1])
    z2, x2 = it.noise(step.batch.take(picked), torch.from_numpy(step.index[picked]), 11, 6, turn=2)
    torch.testing.assert_close(z2, z[:, picked], rtol=0, atol=0)
    rows = np.concatenate([np.arange(*step.batch.offsets[k : k + 2]) for k in picked])
    torch.testing.assert_close(x2, x[rows], rtol=0, atol=0)
    assert not torch.equal(it.noise(step.batch, torch.from_numpy(step.index), 11, 6, turn=3)[0], z)
