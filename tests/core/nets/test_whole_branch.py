"""Whole small events by their likelihood: a density, and one that knows what sums leave."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from hitools.core.batch import EventBatch
from hitools.core.features import GEOMETRY_COLUMNS, features
from hitools.core.nets import mixtures, particle_lists
from hitools.core.nets.hard_laws import turned
from hitools.core.nets.layout import Layout
from hitools.core.nets.listed_events import ListedEvents
from hitools.core.nets.rotary_config import RotaryConfig
from hitools.core.nets.rotary_net import RotaryNet
from hitools.core.nets.whole_branch import N_FREE, _Missing
from hitools.core.representation.aligned import CIRCLE, Aligned, is_hard
from hitools.core.representation.event_scores import turn_of

TINY = RotaryConfig(
    width=16,
    n_heads=1,
    head_width=24,
    n_blocks=2,
    n_feedbacks=1,
    event_width=16,
    slice_width=24,
    whole_width=16,
)
BELOW = 24


@pytest.fixture(scope="module")
def scaling(oo) -> Aligned:
    return Aligned.fit([oo], hard_from=2.0, whole_below=BELOW, eta_max=2.5)


def network(scaling: Aligned, seed: int = 0, size: float = 0.3) -> RotaryNet:
    """Random weights: what is said depends on all that is before."""
    torch.manual_seed(seed)
    model = RotaryNet(TINY, scaling)
    with torch.no_grad():
        for weight in model.whole.parameters():
            weight.add_(size * torch.randn_like(weight) * weight.abs().mean().clamp(min=0.1))
    return model.eval()


def small_events(oo: EventBatch, n: int, low: int = 1, high: int = BELOW) -> EventBatch:
    """Of low to high - 1 particles each: some of those of real events."""
    generator = np.random.default_rng(low)
    filled = oo.take(np.flatnonzero(oo.n_particles >= high))
    batch = filled.take(np.resize(np.arange(len(filled)), n))
    counts = generator.integers(low, high, n)
    rows = np.concatenate(
        [
            start + np.sort(generator.permutation(size)[:count])
            for start, size, count in zip(
                batch.offsets[:-1], batch.n_particles, counts, strict=True
            )
        ]
    )
    offsets = np.concatenate([[0], np.cumsum(counts)])
    pt, eta, phi = (batch.particle(name)[rows] for name in ("pt", "eta", "phi"))
    geometry = (batch.event(name) for name in GEOMETRY_COLUMNS)
    events, particles = features(pt, eta, phi, offsets, *geometry)
    return EventBatch(events, particles, offsets)


def encoded(scaling: Aligned, batch: EventBatch):
    arrays = (batch.events, batch.particles, batch.offsets)
    z, x = scaling.encode(*(torch.from_numpy(np.asarray(one)) for one in arrays))
    return z[:, :9].float(), x.float(), Layout.from_offsets(torch.from_numpy(batch.offsets), "cpu")


def listed(model: RotaryNet, batch: EventBatch) -> ListedEvents:
    z, x, layout = encoded(model.representation, batch)
    return model.whole_events(x, z, layout)[1]


def drawn(model: RotaryNet, batch: EventBatch, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Particles in model space for the vectors of these events, and how many each has."""
    z, _, layout = encoded(model.representation, batch)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        return model.draw_hard(
            z,
            layout.n_particles,
            lambda some, _: torch.randn(len(some), particle_lists.N_NOISE, generator=generator),
        )


def test_what_is_drawn_has_the_density_that_is_said(scaling, oo):
    """E_p[q / p] = 1 for the densities p and q of two networks, where events are drawn from p."""
    one, other = network(scaling, size=0.1), network(scaling, size=0.1)
    with torch.no_grad():
        for weight in other.whole.parameters():
            weight.add_(0.02 * torch.randn_like(weight) * weight.abs().mean().clamp(min=0.1))
    batch = small_events(oo, 4000, 2, 8)
    z, _, layout = encoded(scaling, batch)
    x, counts = drawn(one, batch)
    assert torch.equal(counts, layout.n_particles)
    with torch.no_grad():
        ratio = (
            other.whole_log_likelihood(x, z, layout) - one.whole_log_likelihood(x, z, layout)
        ).exp()
    assert ratio.std() > 0.1  # they do differ
    assert float(ratio.mean()) == pytest.approx(1, abs=4 * float(ratio.std()) / math.sqrt(4000))


def test_the_last_particle_is_where_the_sums_of_its_event_say(scaling, oo):
    """Of real events, with one particle left: its pT, eta and axis follow from what is missing."""
    batch = small_events(oo, 200)
    events = listed(network(scaling), batch)
    last = events.counts.cumsum(0) - 1
    missing = _Missing.of(scaling, events.added[last])
    score, eta, phi = events.particles[last].T
    assert (missing.n == 1).all()
    inside = score.abs() < 5
    torch.testing.assert_close(missing.pt_score[inside], score[inside], atol=2e-3, rtol=0)
    torch.testing.assert_close(missing.eta_score, eta, atol=2e-3, rtol=0)
    assert turned(2 * (missing.psi - phi)).abs().max() < 1e-3
    # The sums of this particle alone: what is left to balance is its own momentum.
    pt = scaling.pt.decode(score).exp() / scaling.slices.pt_unit
    along = torch.stack([pt * phi.cos(), pt * phi.sin()], dim=1)
    torch.testing.assert_close(missing.balance[inside], along[inside], atol=2e-3, rtol=2e-3)
    assert not events.totals[:, -2:].any()  # of all particles of a collision: 0


def test_a_turned_event_is_as_likely(scaling, oo):
    """By any angle around the beam that leaves psi_2 in its half: mean phi has a seam in it."""
    model = network(scaling)
    batch = small_events(oo, 100)
    pt, eta, phi = (batch.particle(name) for name in ("pt", "eta", "phi"))
    geometry = [batch.event(name) for name in GEOMETRY_COLUMNS]

    def likelihood(angle: float) -> tuple[torch.Tensor, torch.Tensor]:
        turned_phi = np.arctan2(np.sin(phi + angle), np.cos(phi + angle)).astype(np.float32)
        events, particles = features(pt, eta, turned_phi, batch.offsets, *geometry)
        z, x, layout = encoded(scaling, EventBatch(events, particles, batch.offsets))
        # Counts have last digits of other columns, mean phi's too: they are no part of this.
        z[:, 4:7] = 0
        with torch.no_grad():
            return model.whole_log_likelihood(x, z, layout), turn_of(z)

    before, psi = likelihood(0)
    for angle in (0.7, 1.4):
        after, turn = likelihood(angle)
        same = (turned(turn - psi) - angle).abs() < 1e-3
        assert same.float().mean() > 0.4
        torch.testing.assert_close(after[same], before[same], rtol=1e-3, atol=5e-3)


def test_recoil_leans_events_towards_balance(scaling, oo):
    """The same events, the factor of recoil up and down: |sum of pT vectors| falls and rises."""
    model = network(scaling, size=0.0)
    batch = small_events(oo, 2000, 4)
    lengths = []
    for factor in (3.0, 0.0, -3.0):
        with torch.no_grad():
            model.whole.recoil_out.bias.fill_(factor)
        found, counts = drawn(model, batch)
        pt = scaling.pt.decode(found[:, 0]).exp().numpy()
        phi = np.arctan2(found[:, 3].numpy(), found[:, 2].numpy())
        event = np.repeat(np.arange(len(batch)), counts.numpy())
        sums = [np.bincount(event, pt * wave(phi)) for wave in (np.cos, np.sin)]
        lengths.append(np.hypot(*sums).mean())
    assert lengths[0] < 0.9 * lengths[1]
    assert lengths[2] > 1.1 * lengths[1]


def test_of_two_particles_phi_is_one_of_the_bounds(scaling, oo):
    """Q of two particles of known pT leaves to the first four azimuths: one of them is real."""
    model = network(scaling)
    branch = model.whole
    batch = small_events(oo, 300, 2)
    events = listed(model, batch)
    last = events.counts.cumsum(0) - 1
    two = events.added[last] + events.added[last - 1]
    first = events.particles[last - 1]
    missing = _Missing.of(scaling, two)
    with torch.no_grad():
        branch.free_out.weight.zero_()
        branch.free_out.bias.zero_()
        law = branch._place_law(
            particle_lists.Before(
                torch.zeros(len(last), 16),
                events.known,
                two,
                first[:, 0] + 1,
                torch.full_like(last, 2),
            ),
            first[:, 0],
            torch.zeros(len(last), 0, 3),
            torch.zeros(len(last), 0, dtype=torch.bool),
        )
    assert law.phi.shape == (len(last), N_FREE)
    off = turned(law.phi - first[:, 2:]).abs().min(1).values
    # Where both particles and Q are nearly on one line, an angle is the root of a rounding.
    assert off.max() < 0.05
    assert off.median() < 1e-3
    torch.testing.assert_close(law.eta, missing.eta_score[:, None].expand_as(law.eta))


def test_each_particle_leaves_room_for_the_others(scaling, oo):
    """Whatever the weights: what the sums of eta miss can be met inside the selection."""
    model = network(scaling, seed=3, size=1.0)
    batch = small_events(oo, 300, 3)
    x, counts = drawn(model, batch)
    eta = scaling.eta.decode(x[:, 1]).numpy()
    assert np.abs(eta).max() <= 2.5 + 1e-4
    ends = np.cumsum(counts.numpy())
    z, _, layout = encoded(scaling, batch)
    total = scaling.plain_sums(scaling.turning_totals(z, layout.n_particles))[:, 4].numpy()
    for k, end in enumerate(ends):
        mine = eta[end - counts[k] : end - 1]  # all but the last
        left = np.arange(len(mine), 0, -1)
        assert (np.abs(total[k] - np.cumsum(mine)) < 2.5 * left + 0.02).all()


@pytest.mark.parametrize(("left", "right"), [(-0.5, 1.0), (3.0, 3.5), (-9.0, -6.0), (-2.0, 8.0)])
def test_numbers_between_two_edges_follow_a_truncated_normal_law(left, right):
    n = 20_000
    number = torch.randn(n, generator=torch.Generator().manual_seed(1))
    edges = torch.full((n,), left), torch.full((n,), right)
    found = mixtures.drawn_between(*edges, number).numpy()
    assert found.min() >= left - 1e-5
    assert found.max() <= right + 1e-5
    law = stats.truncnorm(left, right)
    assert stats.kstest(found, law.cdf).pvalue > 1e-3
    share = float(mixtures.log_share_between(*edges)[0])
    expected = stats.norm.logcdf(right) + math.log1p(
        -math.exp(stats.norm.logcdf(left) - stats.norm.logcdf(right))
    )
    if left > 0:
        expected = math.log(stats.norm.sf(left) - stats.norm.sf(right))
    assert share == pytest.approx(expected, abs=1e-4)


def test_only_small_events_are_drawn_as_a_whole_and_each_alone(scaling, oo):
    """An event does not notice others, of either kind."""
    model = network(scaling)
    some = [small_events(oo, 3), oo.take(np.flatnonzero(oo.n_particles > 60)[:2])]
    batch = EventBatch.concatenate(some).take(np.array([3, 0, 1, 4, 2]))
    z, x, layout = encoded(scaling, batch)
    is_small = layout.n_particles < BELOW
    assert torch.equal(scaling.is_whole(layout.n_particles), is_small)
    assert is_hard(x)[is_small[layout.event_of_particle]].all()
    noise = torch.randn(5, 100, particle_lists.N_NOISE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole, hard = (
            one(x, z, layout) for one in (model.whole_log_likelihood, model.hard_log_likelihood)
        )
        assert torch.equal(whole != 0, is_small)
        assert torch.equal(hard != 0, ~is_small)
        found, counts = model.draw_hard(z, layout.n_particles, lambda some, rank: noise[some, rank])
        assert torch.equal(counts == layout.n_particles, is_small)
        starts = np.cumsum([0, *counts.tolist()])
        for k in range(5):
            mine = slice(int(batch.offsets[k]), int(batch.offsets[k + 1]))
            here = Layout.from_offsets(torch.tensor([0, mine.stop - mine.start]), "cpu")
            for of_all, one in (
                (whole, model.whole_log_likelihood),
                (hard, model.hard_log_likelihood),
            ):
                alone = one(x[mine], z[k : k + 1], here)
                torch.testing.assert_close(alone, of_all[k : k + 1], rtol=1e-4, atol=1e-3)
            again, _ = model.draw_hard(
                z[k : k + 1], here.n_particles, lambda some, rank, k=k: noise[some + k, rank]
            )
            torch.testing.assert_close(
                again, found[starts[k] : starts[k + 1]], rtol=1e-3, atol=1e-3
            )


def test_every_weight_learns_and_no_events_are_no_fault(scaling, oo):
    model = RotaryNet(replace(TINY, whole_width=16), scaling)
    z, x, layout = encoded(scaling, small_events(oo, 30, 3))
    model.whole_log_likelihood(x, z, layout).sum().backward()
    for _, weight in model.whole.named_parameters():
        assert weight.grad is not None
    # At the start cells do not depend on what is said, as their weights are 0.
    still = {name for name, one in model.whole.named_parameters() if not one.grad.any()}
    assert still == set()
    model.zero_grad()
    large = oo.take(np.flatnonzero(oo.n_particles > 60)[:2])
    z, x, layout = encoded(scaling, large)
    found = model.whole_log_likelihood(x, z, layout)
    assert found.tolist() == [0, 0]
    found.sum().backward()


def test_it_learns_to_meet_the_sums_of_its_event(scaling, oo):
    """After half a minute of training Q, sum pT and mean eta are those of the event vector."""
    model = RotaryNet(replace(TINY, whole_width=32), scaling)
    batch = small_events(oo, 400, 2, 8)
    z, x, layout = encoded(scaling, batch)
    optimiser = torch.optim.AdamW(model.whole.parameters(), 1e-2, betas=(0.9, 0.99))
    n_steps = 120
    falling = torch.optim.lr_scheduler.LinearLR(optimiser, 1, 0.05, n_steps)
    for _ in range(n_steps):
        loss = -model.whole_log_likelihood(x, z, layout).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.whole.parameters(), 10.0)
        optimiser.step()
        falling.step()
    found, _ = drawn(model, batch)
    assert float(found[:, 2:4].norm(dim=1).std()) == pytest.approx(0, abs=1e-4)
    assert float(found[:, 2:4].norm(dim=1).mean()) == pytest.approx(CIRCLE, abs=1e-4)
    added = scaling.known.of_turning(scaling.contributions(found, layout.spread(turn_of(z))))
    sums = torch.zeros(len(batch), added.shape[1]).index_add(0, layout.event_of_particle, added)
    totals = scaling.turning_totals(z, layout.n_particles)
    for k, name in ((1, "sum pT"), (2, "Q"), (4, "eta")):
        off = (sums - totals)[:, k].abs().median()
        assert off < 0.1 * totals[:, k].std(), name
