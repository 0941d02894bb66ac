import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hitools.core.batch import EventBatch
from hitools.core.diffusion.objective import Losses, PsiLoss, Shown, losses
from hitools.core.features import EVENT_INDEX, PARTICLE_INDEX
from hitools.core.nets.layout import Layout
from hitools.core.nets.rotary_config import RotaryConfig
from hitools.core.nets.rotary_net import RotaryNet
from hitools.core.representation.aligned import Aligned, is_hard
from tests.core.nets.support import SMALL, lively, offsets_of

COUNTS = [12, 1, 30, 0, 5, 44]
PT, PHI, PSI_2 = PARTICLE_INDEX["pt"], PARTICLE_INDEX["phi"], EVENT_INDEX["psi_2"]


def scaled_psi(pt: float, phi: float, psi_2: float) -> PsiLoss:
    """L_psi of features that are physical values over these scales, shifted by one."""
    return PsiLoss(
        lambda particles: (pt * (particles[:, PT] + 1), phi * (particles[:, PHI] + 1)),
        lambda events: psi_2 * (events[:, PSI_2] + 1),
    )


PSI = scaled_psi(2.0, 3.0, 0.5)
PHYSICAL = PsiLoss(lambda particles: (particles[:, PT], particles[:, PHI]), lambda e: e[:, PSI_2])


def example(counts: list[int] | None = None) -> dict[str, Any]:
    """A batch with everything that the objective takes, by argument name."""
    counts = counts or COUNTS
    generator = torch.Generator().manual_seed(0)
    b, n = len(counts), sum(counts)
    return {
        "events": torch.randn(b, 11, generator=generator),
        "particles": torch.randn(n, 6, generator=generator),
        "offsets": offsets_of(counts),
        "weights": torch.rand(b, generator=generator) + 0.5,
        "t": torch.rand(b, generator=generator),
        "event_noise": torch.randn(1, b, 11, generator=generator),
        "particle_noise": torch.randn(n, 6, generator=generator),
    }


def events_of(batch: dict[str, Any], first: int, last: int) -> dict[str, Any]:
    """Events first..last of a batch."""
    start, stop = batch["offsets"][first], batch["offsets"][last]
    part = {
        name: value[start:stop] if "particle" in name else value[first:last]
        for name, value in batch.items()
    }
    part["event_noise"] = batch["event_noise"][:, first:last]
    part["offsets"] = batch["offsets"][first : last + 1] - start
    return part


def psi_of(particles: Tensor, psi_true: float) -> float:
    """L_psi of one event."""
    events = torch.zeros(1, 11)
    events[0, PSI_2] = psi_true
    layout = Layout.from_offsets(torch.tensor([0, len(particles)]), torch.device("cpu"))
    return float(PHYSICAL(particles, events, layout))


def particle(pt: float, phi: float) -> Tensor:
    row = torch.zeros(6)
    row[PT], row[PHI] = pt, phi
    return row


def test_losses_are_weighted_mean_squared_errors_of_the_velocity():
    """Against sums in numpy, event by event."""
    model, batch = lively(SMALL), example()
    with torch.no_grad():
        ours = losses(model, **batch)
    event_sum = particle_sum = particle_weight = 0.0
    for k in range(len(COUNTS)):
        one = events_of(batch, k, k + 1)
        theta = math.pi / 2 * float(one["t"])
        alpha, sigma = math.cos(theta), math.sin(theta)
        with torch.no_grad():
            event_noise = one["event_noise"][0]
            z = alpha * one["events"] + sigma * event_noise
            x = alpha * one["particles"] + sigma * one["particle_noise"]
            event_v = model.event_velocity(z, one["t"])
            particle_v = model.particle_velocity(x, one["t"], one["events"], one["offsets"])
        event_error = event_v - (alpha * event_noise - sigma * one["events"])
        particle_error = particle_v - (alpha * one["particle_noise"] - sigma * one["particles"])
        weight = float(one["weights"])
        event_sum += weight * float(np.square(event_error.numpy()).mean())
        particle_sum += weight * float(np.square(particle_error.numpy()).sum()) / 6
        particle_weight += weight * COUNTS[k]
    assert float(ours.event.value) == pytest.approx(
        event_sum / float(batch["weights"].sum()), rel=2e-3
    )
    assert float(ours.particle.value) == pytest.approx(particle_sum / particle_weight, rel=2e-3)
    assert ours.psi is None


def test_parts_of_a_batch_add_up_to_the_whole():
    model, batch = lively(SMALL), example()
    with torch.no_grad():
        whole = losses(model, **batch, psi=PSI)
        parts = [losses(model, **events_of(batch, *ends), psi=PSI) for ends in ((0, 2), (2, 6))]
    for name in ("event", "particle", "psi"):
        terms = [getattr(part, name) for part in parts]
        total = getattr(whole, name)
        assert float(sum(term.numerator for term in terms)) == pytest.approx(
            float(total.numerator), rel=1e-5
        )
        assert float(sum(term.denominator for term in terms)) == pytest.approx(
            float(total.denominator), rel=1e-6
        )


def values(result: Losses) -> list[float]:
    assert result.psi is not None
    return [float(mean.value) for mean in (result.event, result.particle, result.psi)]


def test_an_event_vector_is_shown_at_times_evenly_apart():
    """Three times of one event against the mean of three losses at these times."""
    model, batch = lively(SMALL), example([6])
    batch["t"] = torch.tensor([0.75])
    noise = torch.randn(3, 1, 11, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        together = losses(model, **{**batch, "event_noise": noise}).event.value
        single = [
            losses(model, **{**batch, "t": torch.tensor([t]), "event_noise": one[None]}).event.value
            for t, one in zip((0.75, 1.0833333 - 1, 1.4166666 - 1), noise, strict=True)
        ]
    assert float(together) == pytest.approx(float(torch.stack(single).mean()), rel=1e-5)


def test_particles_are_shown_at_times_of_their_own():
    batch, model = example(), lively(SMALL)
    times = torch.rand(len(COUNTS), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        both, events = losses(model, **batch, particle_t=times), losses(model, **batch)
        particles = losses(model, **{**batch, "t": times})
    assert both.event.value == events.event.value != particles.event.value
    assert both.particle.value == particles.particle.value != events.particle.value


def test_only_ratios_of_weights_matter_and_weight_zero_is_absence():
    model, batch = lively(SMALL), example()
    with torch.no_grad():
        reference = values(losses(model, **batch, psi=PSI))
        scaled = values(losses(model, **{**batch, "weights": 7 * batch["weights"]}, psi=PSI))
        weights = batch["weights"].clone()
        weights[4:] = 0
        silenced = values(losses(model, **{**batch, "weights": weights}, psi=PSI))
        absent = values(losses(model, **events_of(batch, 0, 4), psi=PSI))
    assert scaled == pytest.approx(reference, rel=1e-5)
    assert silenced == pytest.approx(absent, rel=1e-5)


def test_psi_counts_events_below_half_time_that_hold_particles():
    model, batch = lively(SMALL), example()
    batch["t"] = torch.tensor([0.49, 0.5, 0.1, 0.2, 0.9, 0.0])
    result = losses(model, **batch, psi=PSI)
    assert result.psi is not None
    expected = batch["weights"][[0, 2, 5]].sum()
    assert float(result.psi.denominator) == pytest.approx(float(expected))


def test_without_early_events_psi_is_zero_and_harmless():
    model, batch = lively(SMALL), example()
    batch["t"] = torch.full_like(batch["t"], 0.7)
    result = losses(model, **batch, psi=PSI)
    assert result.psi is not None
    result.psi.value.backward()
    assert not result.psi.value.any()
    assert all(p.grad.isfinite().all() for p in model.body.parameters() if p.grad is not None)


def test_psi_reaches_every_parameter_of_the_particle_branch():
    model, batch = lively(SMALL), example()
    batch["t"] = torch.full_like(batch["t"], 0.3)
    result = losses(model, **batch, psi=PSI)
    assert result.psi is not None
    result.psi.value.backward()
    for part in (model.body, model.head):
        assert all(p.grad.isfinite().all() and p.grad.any() for p in part.parameters())


@pytest.mark.parametrize(
    ("phi", "psi_true", "expected"),
    [(0.3, 0.3, 0), (0.3 + math.pi, 0.3, 0), (0.3 + math.pi / 2, 0.3, 2), (1, 1 - math.pi / 4, 1)],
)
def test_psi_compares_axes_not_directions(phi, psi_true, expected):
    particles = torch.stack([particle(1.0, phi), particle(2.0, phi + math.pi)])
    assert psi_of(particles, psi_true) == pytest.approx(expected, abs=1e-6)


def test_psi_weighs_particles_with_their_momentum():
    particles = torch.stack([particle(3.0, 0.0), particle(1.0, math.pi / 2)])
    assert psi_of(particles, 0.0) == pytest.approx(0, abs=1e-6)


def test_real_events_have_the_event_plane_that_they_say(oo: EventBatch):
    """Real particles and event vectors, scaled to model space and back, cost nothing."""
    events, particles = torch.from_numpy(oo.events), torch.from_numpy(oo.particles)
    layout = Layout.from_offsets(torch.from_numpy(oo.offsets), torch.device("cpu"))
    cost = PSI(particles / torch.tensor([1, 1, 1, 2.0, 1, 3.0]) - 1, events / 0.5 - 1, layout)
    # 1 - cos is flat at zero: the rounding of float32 features is all that is left.
    assert float(cost[layout.n_particles > 1].max()) < 1e-4


def test_gradients_of_psi_are_those_of_finite_differences():
    generator = torch.Generator().manual_seed(0)
    particles = torch.randn(16, 6, dtype=torch.float64, generator=generator).requires_grad_()
    events = torch.randn(4, 11, dtype=torch.float64, generator=generator).requires_grad_()
    layout = Layout.from_offsets(offsets_of([7, 1, 0, 8]), torch.device("cpu"))
    assert torch.autograd.gradcheck(lambda x, e: PSI(x, e, layout), (particles, events))


def rotary_batch(scaling: Aligned, events: EventBatch) -> tuple[RotaryNet, Tensor, Tensor, Tensor]:
    """A network with random weights; event scores, particles and offsets of real events."""
    torch.manual_seed(0)
    sizes = RotaryConfig(16, 1, 24, n_blocks=2, n_feedbacks=1, event_width=16, slice_width=16)
    model = RotaryNet(sizes, scaling)
    offsets = torch.from_numpy(events.offsets)
    arrays = torch.from_numpy(events.events), torch.from_numpy(events.particles)
    return model, *scaling.encode(*arrays, offsets), offsets


def test_hard_particles_are_in_no_loss_but_their_own(oo):
    """Their noise shows nowhere; their likelihood is what the network says of each event."""
    few = oo.take(np.flatnonzero(oo.n_particles > 0)[:20])
    model, z, x, offsets = rotary_batch(Aligned.fit([oo], hard_from=1.5, eta_max=2.5), few)
    scaling = model.representation
    hard = is_hard(x)
    assert 20 < hard.sum() < len(hard) / 5
    weights, times = torch.rand(20) + 0.5, torch.rand(20)
    event_noise, noise = torch.randn(1, *z.shape), torch.randn(len(x), 4)
    psi = PsiLoss(scaling.momenta, scaling.event_plane)

    @torch.no_grad()
    def found(particle_noise: Tensor) -> Losses:
        batch = (z, x, offsets, weights, times, event_noise, particle_noise)
        return losses(model, *batch, psi=psi, with_sums=True, hardness=1.0)

    one, other = found(noise), found(torch.where(hard[:, None], 9.0, noise))
    for name in ("particle", "psi", "sums"):
        assert torch.equal(getattr(one, name).numerator, getattr(other, name).numerator)
    with torch.no_grad():
        layout = Layout.from_offsets(offsets, x.device)
        expected = -(weights * model.hard_log_likelihood(x, z, layout)).sum() / weights.sum()
    torch.testing.assert_close(one.hard.value, expected)
    # Without noise the particles are denoised already: L_psi is that of the event itself.
    with torch.no_grad():
        late = losses(model, z, x, offsets, weights, 0 * times, event_noise, 0 * noise, psi=psi)
    assert float(late.psi.value) < 0.01


def test_events_that_are_drawn_as_a_whole_are_in_no_loss_but_their_own(oo):
    """Neither their slices nor their particles; their likelihood is a mean over them alone."""
    few = oo.take(np.flatnonzero(oo.n_particles > 0)[:30])
    below = int(np.median(few.n_particles))
    scaling = Aligned.fit([oo], hard_from=1.5, whole_below=below, eta_max=2.5)
    model, z, x, offsets = rotary_batch(scaling, few)
    whole = torch.from_numpy(few.n_particles < below)
    assert 5 < whole.sum() < 25
    of_whole = torch.repeat_interleave(whole, offsets.diff())
    weights, times = torch.rand(30) + 0.5, torch.rand(30)
    event_noise, noise = torch.randn(1, *z.shape), torch.randn(len(x), 4)

    @torch.no_grad()
    def found(coarse_noise: Tensor, particle_noise: Tensor, shown: Shown = "all") -> Losses:
        batch = (z, x, offsets, weights, times, coarse_noise, particle_noise)
        return losses(model, *batch, shown=shown)

    one = found(event_noise, noise)
    other = found(
        torch.where(whole[None, :, None], 9.0, event_noise),
        torch.where(of_whole[:, None], 9.0, noise),
    )
    for name in ("event", "particle"):
        assert torch.equal(getattr(one, name).numerator, getattr(other, name).numerator)
    with torch.no_grad():
        layout = Layout.from_offsets(offsets, x.device)
        each = model.whole_log_likelihood(x, z, layout)
    expected = -(weights * each)[whole].sum() / weights[whole].sum()
    torch.testing.assert_close(one.whole.value, expected)
    alone = found(event_noise, noise, "whole")
    torch.testing.assert_close(alone.whole.value, expected)
    assert (alone.event, alone.particle, alone.hard, alone.vectors) == (None,) * 4


@pytest.mark.parametrize("evenness", [0.5, 1.0])
def test_particles_of_small_events_weigh_more(oo, evenness):
    """As the losses of events one by one, weighed by hand."""
    few = oo.take(np.flatnonzero(oo.n_particles > 0)[:8])
    model, z, x, offsets = rotary_batch(Aligned.fit([oo], eta_max=2.5), few)
    weights, times = torch.rand(8) + 0.5, torch.rand(8)
    event_noise, noise = torch.randn(1, *z.shape), torch.randn(len(x), 4)

    @torch.no_grad()
    def found(events: slice, evenness: float) -> Losses:
        rows = slice(int(offsets[events.start]), int(offsets[events.stop]))
        return losses(
            model,
            z[events],
            x[rows],
            offsets[events.start : events.stop + 1] - rows.start,
            weights[events],
            times[events],
            event_noise[:, events],
            noise[rows],
            with_sums=True,
            evenness=evenness,
        )

    together = found(slice(0, 8), evenness)
    usual = np.median(oo.n_particles[oo.n_particles > 0])
    alone = [found(slice(k, k + 1), 0.0) for k in range(8)]
    lifts = (usual / few.n_particles) ** evenness
    for name in ("particle", "sums"):
        expected = sum(
            lift * float(getattr(one, name).numerator)
            for lift, one in zip(lifts, alone, strict=True)
        )
        assert float(getattr(together, name).numerator) == pytest.approx(expected, rel=0.03)
        # What it is the mean over stays the same: the weights are 1 in the median event.
        assert torch.equal(
            getattr(together, name).denominator, getattr(found(slice(0, 8), 0.0), name).denominator
        )
    assert torch.equal(together.event.numerator, found(slice(0, 8), 0.0).event.numerator)
