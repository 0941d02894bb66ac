"""The regression on known sums, against its definition by brute force over sampled particles."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from hitools.core.diffusion.schedule import alpha_sigma
from hitools.core.diffusion.solvers import SOLVERS
from hitools.core.nets import stacks
from hitools.core.nets.layout import Layout
from hitools.core.nets.regression import RIDGE, Regression
from hitools.core.nets.rotary_config import RotaryConfig
from hitools.core.nets.rotary_net import RotaryNet
from hitools.core.representation.aligned import CIRCLE, Aligned
from hitools.core.representation.event_scores import turn_of
from hitools.core.representation.slices import N_SLICES
from tests.core.nets.support import offsets_of

COUNTS = [3, 0, 20]


@pytest.fixture(scope="module", params=[((2, 2), None), ((3, 3), None), ((3, 2), 1.5)], ids=str)
def scaling(oo, request):
    harmonics, hard_from = request.param
    return Aligned.fit([oo], slice_harmonics=harmonics, hard_from=hard_from, eta_max=2.5)


def noised(counts: list[int]) -> torch.Tensor:
    return torch.randn(sum(counts), 4, generator=torch.Generator().manual_seed(7))


def regression(scaling, x, counts, t) -> tuple[Regression, torch.Tensor, Layout]:
    layout = Layout.from_offsets(offsets_of(counts), x.device)
    psi = torch.linspace(-1.5, 1.5, len(counts))
    alpha, sigma = alpha_sigma(torch.full((len(counts), 1), t))
    return Regression(scaling, x, layout.spread(psi), alpha, sigma, layout), psi, layout


def posterior(x: np.ndarray, t: float, n: int) -> np.ndarray:
    """(n, n_total, 4) clean particles that may have led to the noised ones, each on its own."""
    rng = np.random.default_rng(5)
    alpha, sigma = np.cos(np.pi / 2 * t), np.sin(np.pi / 2 * t)
    scores = alpha * x[:, :2] + sigma * rng.standard_normal((n, len(x), 2))
    radius, direction = np.hypot(x[:, 2], x[:, 3]), np.arctan2(x[:, 3], x[:, 2])
    concentration = alpha * CIRCLE * radius / sigma**2
    angle = rng.vonmises(direction, concentration, (n, len(x)))
    circle = CIRCLE * np.stack([np.cos(angle), np.sin(angle)], axis=2)
    return np.concatenate([scores, circle], axis=2).astype(np.float32)


@pytest.mark.parametrize("t", [0.2, 0.5, 0.8])
def test_it_is_the_linear_regression_of_particles_on_sums(scaling, t):
    """numpy's covariances over 20,000 posterior samples and its solver, event by event."""
    counts = [3, 0, 20, 20]
    x = noised(counts)
    found, psi, layout = regression(scaling, x, counts, t)
    draws = posterior(x.numpy(), t, 20_000)
    turns = layout.spread(psi)
    flat = torch.from_numpy(draws).flatten(0, 1)
    each = scaling.contributions(flat, turns.repeat(len(draws))).view(*draws.shape[:2], -1).numpy()
    error = np.abs(each.mean(0) - found.expected.numpy())
    assert np.median(error / (each.std(0) + 0.05)) < 0.05
    missing = torch.randn(
        len(counts), len(scaling.known), generator=torch.Generator().manual_seed(2)
    )
    missing = 0.01 * missing * layout.n_particles.sqrt()[:, None]  # so little that nothing bends
    shift = found.shift(missing).numpy()
    expected = np.zeros_like(shift)
    direction = np.arctan2(x.numpy()[:, 3], x.numpy()[:, 2])
    cos, sin = np.cos(direction), np.sin(direction)
    start = 0
    for k, count in enumerate(counts):
        rows = slice(start, start + count)
        start += count
        centred = each[:, rows] - each[:, rows].mean(0)
        covariance = np.einsum("dic,die->ce", centred, centred, optimize=True) / len(draws)
        softness = RIDGE + 1 - math.cos(math.pi / 2 * t)
        covariance += softness**2 * max(count, 1) * np.eye(len(scaling.known))
        weights = np.linalg.solve(covariance, missing[k].numpy())
        places = draws[:, rows] - draws[:, rows].mean(0)
        moved = np.einsum("dij,dic,c->ij", places, centred, weights, optimize=True) / len(draws)
        along = cos[rows] * moved[:, 2] + sin[rows] * moved[:, 3]
        across = sin[rows] * -moved[:, 2] + cos[rows] * moved[:, 3]
        expected[rows] = np.stack([moved[:, 0], moved[:, 1], along, across], axis=1)
    # Shifts that nearly cancel in an event are known to less than those that add up.
    assert np.linalg.norm(shift - expected) < 0.2 * np.linalg.norm(expected)
    assert np.corrcoef(shift.ravel(), expected.ravel())[0, 1] > 0.98


def test_padded_stacks_as_on_a_gpu_change_nothing(scaling, monkeypatch):
    counts = [30, 1, 0, 41, 30, 5]
    missing = torch.randn(6, len(scaling.known), generator=torch.Generator().manual_seed(2))
    expected = regression(scaling, noised(counts), counts, 0.4)[0].shift(missing)
    monkeypatch.setattr("hitools.core.nets.regression.pieces", stacks.stacks)
    monkeypatch.setitem(stacks.LENGTH_RATIO, "cpu", 2.0)
    found = regression(scaling, noised(counts), counts, 0.4)[0].shift(missing)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_what_an_event_misses_moves_its_own_particles_only(scaling):
    x = noised(COUNTS)
    found, _, _ = regression(scaling, x, COUNTS, 0.5)
    missing = torch.zeros(len(COUNTS), len(scaling.known))
    missing[2] = 1
    shift = found.shift(missing)
    assert not shift[:3].any()
    assert shift[3:].any()


@pytest.mark.parametrize("t", [0.0, 1e-3, 1.0])
@pytest.mark.parametrize("size", [1, 30])
def test_it_is_finite_at_the_ends_far_out_and_without_particles(scaling, t, size):
    for counts in (COUNTS, [1], [0, 0]):
        found, _, _ = regression(scaling, size * noised(counts), counts, t)
        shift = found.shift(torch.ones(len(counts), len(scaling.known)))
        assert shift.shape == (sum(counts), 4)
        assert shift.isfinite().all()


def test_particles_that_are_known_contribute_what_they_are(scaling, oo):
    """At the end of the diffusion the expectation is the contribution itself."""
    real = oo.take(np.flatnonzero(oo.n_particles > 0)[:30])
    z, x = scaling.encode(
        *(torch.from_numpy(a) for a in (real.events, real.particles, real.offsets))
    )
    layout = Layout.from_offsets(torch.from_numpy(real.offsets), x.device)
    turn = layout.spread(turn_of(z))
    alpha, sigma = alpha_sigma(torch.zeros(len(real), 1))
    found = Regression(scaling, x, turn, alpha, sigma, layout)
    exact = scaling.contributions(x, turn)
    torch.testing.assert_close(found.expected, exact, rtol=1e-2, atol=5e-3)


def test_hard_particles_are_known_at_any_time_and_others_do_not_notice(oo):
    """They add what they add, and nothing moves them; what is said of others is of these alone."""
    x = torch.cat([noised(COUNTS), torch.zeros(sum(COUNTS), 1)], dim=1)
    x[[0, 5, 6], 4] = 1
    x[[0, 5, 6], 0] = torch.tensor([2.0, 3.5, 1.6])
    hard = x[:, 4] > 0
    scaling = Aligned.fit([oo], hard_from=1.5, eta_max=2.5)
    for time in (torch.full((len(COUNTS), 1), 0.6), torch.tensor(0.6)):
        layout = Layout.from_offsets(offsets_of(COUNTS), x.device)
        psi = torch.linspace(-1.5, 1.5, len(COUNTS))
        turn = layout.spread(psi)
        found = Regression(scaling, x, turn, *alpha_sigma(time), layout)
        exact = scaling.contributions(x, turn)
        torch.testing.assert_close(found.expected[hard], exact[hard])
        plain = Regression(scaling, x[:, :4], turn, *alpha_sigma(time), layout)
        assert torch.equal(found.expected[~hard], plain.expected[~hard])
        shift = found.shift(torch.ones(len(COUNTS), len(scaling.known)))
        assert not shift[hard].any()
        assert shift[~hard].any(1).all()


def test_no_shift_is_beyond_what_a_first_order_can_say(scaling):
    found, _, layout = regression(scaling, noised(COUNTS), COUNTS, 0.7)
    little = 1e-3 * layout.n_particles.sqrt()[:, None] * torch.ones(len(COUNTS), len(scaling.known))
    slow, fast = found.shift(little), found.shift(1e4 * little)
    assert fast.abs().max() <= 3
    assert (fast.abs() < 1e4 * slow.abs() + 1e-6).all()
    assert torch.equal(fast.sign(), slow.sign())


@pytest.mark.parametrize("t", [1.0, 0.5625, 0.0625, 0.001])
def test_one_time_for_all_events_is_looked_up_in_tables(scaling, t):
    """The same to the error of lines between knots; far out and for few particles, too."""
    counts = [150, 0, 1, 40]
    x = noised(counts) * torch.linspace(0.1, 2, sum(counts))[:, None]
    direct, _, layout = regression(scaling, x, counts, t)
    psi = torch.linspace(-1.5, 1.5, len(counts))
    alpha, sigma = alpha_sigma(torch.tensor(t))
    looked_up = Regression(scaling, x, layout.spread(psi), alpha, sigma, layout)
    # Largest where a line is drawn across the edge of a slice.
    torch.testing.assert_close(looked_up.expected, direct.expected, rtol=1e-3, atol=8e-3)
    off = (looked_up.expected - direct.expected).norm()
    assert off < 1e-3 * direct.expected.norm()
    generator = torch.Generator().manual_seed(2)
    missing = torch.randn(len(counts), len(scaling.known), generator=generator)
    missing *= layout.n_particles.sqrt()[:, None]
    expected, found = direct.shift(missing), looked_up.shift(missing)
    assert (found - expected).norm() < 2e-2 * expected.norm()


def test_what_meets_the_sums_leaves_the_spectra_as_they_are(oo):
    """Without any training: Q is met, and neither eta nor the tail of pT pays for it."""
    real = oo.take(np.flatnonzero(oo.n_particles > 0)[:400])
    scaling = Aligned.fit([real], eta_max=2.5)
    torch.manual_seed(1)
    model = RotaryNet(RotaryConfig(), scaling).eval()
    z, x = scaling.encode(
        *(torch.from_numpy(a) for a in (real.events, real.particles, real.offsets))
    )
    offsets = torch.from_numpy(real.offsets)

    @torch.no_grad()
    def velocity(noised: torch.Tensor, t: float) -> torch.Tensor:
        return model.particle_velocity(noised, torch.full((len(real),), t), z, offsets)

    made = SOLVERS["ab2"].solve(velocity, torch.randn(x.shape), 6, "power")
    none_hard = torch.zeros(len(z), len(scaling.known))
    wanted = scaling.totals(z, torch.from_numpy(real.n_particles), none_hard)
    layout = Layout.from_offsets(offsets, x.device)
    each = scaling.contributions(made, layout.spread(turn_of(z)))
    sums = torch.zeros_like(wanted).index_add(0, layout.event_of_particle, each)
    sums_of = scaling.slices.sums
    first = wanted[:, : sums_of.n_features].view(len(real), N_SLICES, -1)
    second = sums[:, : sums_of.n_features].view(len(real), N_SLICES, -1)
    q_along = sums_of.names.index("pt_cos_2")
    assert np.corrcoef(first[:, :, q_along].sum(1), second[:, :, q_along].sum(1))[0, 1] > 0.98
    expected = len(x) / 20
    found = np.histogram(stats.norm.cdf(made[:, 1]), 20, (0, 1))[0] / expected
    assert np.abs(found - 1).max() < 0.05 + 4 / np.sqrt(expected)
    hard = (made[:, 0] > 2.5).sum() / (len(x) * stats.norm.sf(2.5))
    assert hard == pytest.approx(1, abs=0.25)
