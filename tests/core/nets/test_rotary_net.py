"""The rotary network: what it must not depend on, what it closes on, its sizes."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from hitools.core.diffusion.solvers import SOLVERS
from hitools.core.errors import InputError
from hitools.core.nets.config import NetConfig
from hitools.core.nets.layout import Layout
from hitools.core.nets.model import Denoiser
from hitools.core.nets.networks import build, config_from_dict, config_to_dict
from hitools.core.nets.particle_lists import N_NOISE
from hitools.core.nets.rotary_config import RotaryConfig
from hitools.core.nets.rotary_net import N_EVENT, RotaryNet
from hitools.core.nets.scores import SlicesBranch
from hitools.core.representation.aligned import Aligned, is_hard
from hitools.core.representation.event_scores import turn_of
from hitools.core.representation.slices import N_SLICES, SliceSums
from hitools.core.scaling import Standardised
from tests.core.nets.support import offsets_of

TINY = RotaryConfig(
    width=16, n_heads=1, head_width=24, n_blocks=2, n_feedbacks=1, event_width=16, slice_width=24
)

N_COARSE = SliceSums().n_features


@pytest.fixture(scope="module")
def scaling(oo):
    return Aligned.fit([oo], eta_max=2.5)


@pytest.fixture(scope="module")
def scaling_with_hard(oo):
    return Aligned.fit([oo], hard_from=2.0, eta_max=2.5)


@pytest.fixture
def model(scaling) -> RotaryNet:
    """Whose event vectors are denoised, as those of models of before."""
    return lively(replace(TINY, vector_parts=0), scaling)


@pytest.fixture
def model_with_hard(scaling_with_hard) -> RotaryNet:
    return lively(TINY, scaling_with_hard)


def lively(config: RotaryConfig, scaling: Aligned) -> RotaryNet:
    """No weight is zero: every part matters."""
    torch.manual_seed(0)
    model = RotaryNet(config, scaling)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.05)
    return model.eval()


def example(counts: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    return (
        torch.randn(sum(counts), 4, generator=generator),
        torch.rand(len(counts), generator=generator),
        torch.randn(len(counts), N_EVENT + N_COARSE, generator=generator),
        offsets_of(counts),
    )


def of_vectors(model: RotaryNet, vectors: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """What the model says of event vectors."""
    if model.vector_law is None:
        return model.event_velocity(vectors, t)
    return model.vector_law.log_likelihood(vectors)


def sums_of_hard(n_events: int) -> torch.Tensor:
    return 5 * torch.randn(n_events, N_COARSE + 2, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("which", ["model", "model_with_hard"])
def test_an_event_does_not_notice_what_it_is_batched_with(which, oo, request):
    model = request.getfixturevalue(which)
    counts = oo.n_particles[:30].tolist()
    x, t, events, offsets = example(counts)
    x = x if model.hard is None else with_hard(x)
    with torch.no_grad():
        together = model.particle_velocity(x, t, events, offsets).split(counts)
        differences = []
        for k in range(30):
            one = slice(k, k + 1)
            rows = slice(offsets[k], offsets[k + 1])
            alone = model.particle_velocity(x[rows], t[one], events[one], offsets_of([counts[k]]))
            differences.append(float((alone - together[k]).norm() / together[k].norm()))
        # A particle that sees another event would show in most of them. Near t = 0 rounding is
        # divided by the noise: with six choices of weights at most 6e-6 in one event.
        assert np.median(differences) <= 4e-7
        assert max(differences) <= 1e-5
        vectors, coarse = events.split([N_EVENT, N_COARSE], dim=1)
        known = model.known_of_slices(vectors, offsets.diff(), sums_of_hard(30))
        for together, alone in (
            (of_vectors(model, vectors, t), of_vectors(model, vectors[:1], t[:1])),
            (
                model.coarse_velocity(coarse, t, known),
                model.coarse_velocity(coarse[:1], t[:1], known[:1]),
            ),
        ):
            torch.testing.assert_close(together[:1], alone, rtol=1e-5, atol=1e-6)


def test_one_time_for_all_events_is_the_same_as_that_time_for_each(model, oo):
    """To what tables of the regression leave; of what draws events, to rounding."""
    counts = [*oo.n_particles[:8].tolist(), 0, 1]
    x, _, events, offsets = example(counts)
    vectors, coarse = events.split([N_EVENT, N_COARSE], dim=1)
    with torch.no_grad():
        known = model.known_of_slices(vectors, offsets.diff(), sums_of_hard(len(counts)))
        for time in (1.0, 0.5, 0.05):
            one, each = torch.tensor(time), torch.full((len(counts),), time)
            expected, found = (model.particle_velocity(x, t, events, offsets) for t in (each, one))
            assert (found - expected).norm() < 5e-3 * expected.norm()
            for branch in (
                lambda t: model.event_velocity(vectors, t),
                lambda t: model.coarse_velocity(coarse, t, known),
            ):
                torch.testing.assert_close(branch(one), branch(each), rtol=1e-5, atol=1e-6)


def with_hard(x: torch.Tensor) -> torch.Tensor:
    """Every seventh particle is known, with a score from 2 on."""
    hard = (torch.arange(len(x)) % 7 == 3).float()
    score = torch.where(hard > 0, 2 + x[:, 0].abs(), x[:, 0])
    return torch.cat([score[:, None], x[:, 1:], hard[:, None]], dim=1)


def test_particles_see_the_hard_ones_of_their_own_event(model_with_hard):
    x, t, events, offsets = example([40, 25])
    x = with_hard(x)
    moved = x.clone()
    moved[3, 1:4] = torch.tensor([-x[3, 1], -x[3, 2], -x[3, 3]])
    with torch.no_grad():
        before, after = (
            model_with_hard.particle_velocity(y, t, events, offsets) for y in (x, moved)
        )
    changed = (after - before).abs().amax(1) > 1e-4
    others = torch.arange(65) != 3
    assert changed[:40][others[:40]].float().mean() > 0.9
    assert not changed[40:].any()


def test_their_likelihood_and_what_is_drawn_are_of_each_event_alone(model_with_hard):
    counts = [40, 0, 25, 3]
    x, _, events, offsets = example(counts)
    x, layout = with_hard(x), Layout.from_offsets(offsets, x.device)
    noise = torch.randn(4, 100, N_NOISE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole = model_with_hard.hard_log_likelihood(x, events, layout)
        drawn, found = model_with_hard.draw_hard(
            events, layout.n_particles, lambda some, rank: noise[some, rank]
        )
        assert (found <= layout.n_particles).all()
        assert drawn.shape == (int(found.sum()), 5)
        assert is_hard(drawn).all()
        for k, mine in enumerate(drawn.split(found.tolist())):
            one = slice(int(offsets[k]), int(offsets[k + 1]))
            here = Layout.from_offsets(offsets_of([counts[k]]), x.device)
            alone = model_with_hard.hard_log_likelihood(x[one], events[k : k + 1], here)
            torch.testing.assert_close(alone, whole[k : k + 1], rtol=1e-4, atol=1e-4)
            again, _ = model_with_hard.draw_hard(
                events[k : k + 1], here.n_particles, lambda some, rank, k=k: noise[some + k, rank]
            )
            torch.testing.assert_close(again, mine, rtol=1e-3, atol=1e-3)


def test_particles_have_no_order(model):
    x, t, events, offsets = example([40, 25])
    order = torch.cat([torch.randperm(40), 40 + torch.randperm(25)])
    with torch.no_grad():
        out = model.particle_velocity(x, t, events, offsets)
        shuffled = model.particle_velocity(x[order], t, events, offsets)
    torch.testing.assert_close(shuffled, out[order], rtol=1e-4, atol=1e-4)


def test_empty_events_and_lone_particles_pass_through(model):
    x, t, events, offsets = example([0, 1, 30, 0, 2, 0])
    out = model.particle_velocity(x, t, events, offsets)
    assert out.shape == x.shape
    assert out.isfinite().all()
    nothing = model.particle_velocity(x[:0], t[:2], events[:2], torch.tensor([0, 0, 0]))
    assert nothing.shape == (0, 4)


def test_every_parameter_learns(model_with_hard):
    model = model_with_hard
    x, t, events, offsets = example([12, 30])
    x = with_hard(x)
    velocity, estimates = model.particle_outputs(x, t, events, offsets)
    assert [tuple(one.shape) for one in estimates] == [(42, len(model.representation.known))] * 2
    vectors, coarse = events.split([N_EVENT, N_COARSE], dim=1)
    outputs = [
        velocity,
        of_vectors(model, vectors, t),
        model.coarse_velocity(
            coarse, t, model.known_of_slices(vectors, offsets.diff(), sums_of_hard(2))
        ),
        model.hard_log_likelihood(x, events, Layout.from_offsets(offsets, x.device)),
    ]
    torch.stack([one.square().sum() for one in outputs]).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


def test_the_shortfall_is_what_the_estimates_miss_of_the_event(model, scaling, oo):
    """Clean real particles, known as they are, add up to what is said of their event."""
    real = oo.take(np.flatnonzero(oo.n_particles > 20))
    z, x = scaling.encode(
        *(torch.from_numpy(a) for a in (real.events, real.particles, real.offsets))
    )
    layout = Layout.from_offsets(torch.from_numpy(real.offsets), torch.device("cpu"))
    plain = scaling.contributions(x, layout.spread(turn_of(z)))
    none_hard = torch.zeros(len(z), len(scaling.known))
    totals = scaling.totals(z, layout.n_particles, none_hard)
    place = model.shortfalls[0]
    with torch.no_grad():
        place.estimate.weight.zero_()
        place.estimate.bias.zero_()
        hidden, soft = torch.randn(len(x), TINY.width), torch.ones(len(x), 1)
        missing, estimate = place(hidden, soft, plain, totals, layout)
    torch.testing.assert_close(estimate, plain)
    spread = layout.n_particles.sqrt()[:, None]
    assert float((missing / spread).abs().max()) < 0.05


def test_untrained_it_already_closes_on_what_is_known(scaling, oo):
    """Its particles add up to the sums of real events, by the regression alone."""
    real = oo.take(np.flatnonzero(oo.n_particles > 60)[:40])
    z, x = scaling.encode(
        *(torch.from_numpy(a) for a in (real.events, real.particles, real.offsets))
    )
    layout = Layout.from_offsets(torch.from_numpy(real.offsets), torch.device("cpu"))
    torch.manual_seed(0)
    model = RotaryNet(TINY, scaling)
    offsets = torch.from_numpy(real.offsets)
    psi = layout.spread(turn_of(z))
    none_hard = torch.zeros(len(z), len(scaling.known))
    totals = scaling.totals(z, layout.n_particles, none_hard)

    @torch.no_grad()
    def rms(network) -> torch.Tensor:
        sample = SOLVERS["ab2"].solve(
            lambda y, t: network.particle_velocity(y, torch.full((40,), t), z, offsets),
            torch.randn(x.shape, generator=torch.Generator().manual_seed(1)),
            12,
        )
        each = scaling.contributions(sample, psi)
        sums = torch.zeros_like(totals).index_add(0, layout.event_of_particle, each)
        return (sums - totals).square().mean().sqrt()

    plain = RotaryNet(replace(TINY, n_feedbacks=0), scaling)
    assert rms(model) < 0.25 * rms(plain)


def test_without_feedback_nothing_is_estimated(scaling):
    model = lively(replace(TINY, n_feedbacks=0), scaling)
    x, t, events, offsets = example([9, 3])
    velocity, estimates = model.particle_outputs(x, t, events, offsets)
    assert estimates == []
    assert velocity.isfinite().all()


def test_feedback_is_spread_over_the_blocks():
    assert RotaryConfig(n_blocks=5, n_feedbacks=2).feedback_blocks == (2, 4)
    assert RotaryConfig(n_blocks=6, n_feedbacks=1).feedback_blocks == (3,)
    assert RotaryConfig(n_feedbacks=0).feedback_blocks == ()


@pytest.mark.parametrize(
    ("sizes", "words"),
    [({"head_width": 8}, "head_width 8"), ({"n_feedbacks": 9}, "n_feedbacks 9")],
)
def test_sizes_that_do_not_fit_are_refused(sizes, words):
    with pytest.raises(InputError, match=words):
        RotaryConfig(**sizes)


def test_configurations_find_their_network(scaling, oo):
    for config, network in ((NetConfig(), Denoiser), (TINY, RotaryNet)):
        again = config_from_dict(json.loads(json.dumps(config_to_dict(config))))
        assert again == config
        assert type(build(again, scaling)) is network
    assert config_from_dict({"width": 64}) == NetConfig(width=64)  # written before there were kinds
    before = config_from_dict({"kind": "rotary"})  # as stored before there was a choice
    assert (before.slice_told, before.n_densities, before.vector_parts) == (0, 2, 0)
    with pytest.raises(InputError, match="kind 'perceptron'"):
        config_from_dict({"kind": "perceptron"})
    with pytest.raises(InputError, match="unknown settings depth"):
        config_from_dict({"kind": "rotary", "depth": 3})
    with pytest.raises(InputError, match="goes with the representation 'aligned'"):
        build(TINY, Standardised.fit([oo], eta_max=2.5))


def test_bfloat16_autocast_stays_near_float32(model):
    """Sums over particles, positions and the exact part of the velocity stay in full precision."""
    x, t, events, offsets = example([100, 64, 3])
    exact, estimates = model.particle_outputs(x, t, events, offsets)
    with torch.autocast("cpu", torch.bfloat16):
        rounded, rounded_estimates = model.particle_outputs(x, t, events, offsets)
    assert rounded.dtype == torch.float32
    assert float(((rounded - exact).norm() / exact.norm()).detach()) < 0.02
    for one, other in zip(rounded_estimates, estimates, strict=True):
        assert one.dtype == torch.float32
        assert float(((one - other).norm() / other.norm()).detach()) < 0.05
    rounded.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_slices_hear_each_other_and_share_what_they_do_by_themselves():
    torch.manual_seed(1)
    branch = SlicesBranch(N_COARSE, n_known=3, width=16, n_told=4, n_blocks=2)
    with torch.no_grad():
        for parameter in branch.parameters():
            parameter.normal_(std=0.2)
        z, t, known = torch.randn(6, N_COARSE), torch.rand(6), torch.randn(6, 3)
        changed = z.view(6, N_SLICES, -1).clone()
        changed[:, 4] += 1

        def of_slices(values):
            return branch(values.reshape(6, -1), t, known).view(6, N_SLICES, -1)

        heard = (of_slices(changed) - of_slices(z))[:, 0].abs().amax(1)
        assert (heard > 1e-4).all()
        for block in branch.blocks:
            for parameter in block.hear.parameters():
                parameter.zero_()
        assert of_slices(changed)[:, :4].equal(of_slices(z)[:, :4])
        branch.known.weight.zero_()
        branch.known.bias.zero_()
        alike = of_slices(z[:, : N_COARSE // N_SLICES].repeat(1, N_SLICES))
        assert (alike - alike[:, :1]).abs().max() < 1e-5
