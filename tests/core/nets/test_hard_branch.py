"""Hard particles by their likelihood: a density in every part, the one that is drawn from."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from hitools.core.nets import hard_laws, particle_lists
from hitools.core.nets.hard_branch import HardBranch
from hitools.core.nets.listed_events import ListedEvents, hardest_first
from hitools.core.nets.particle_lists import Before

N_KNOWN, N_SUMS, WIDTH, THRESHOLD = 3, 4, 16, 2.0


def branch(seed: int, size: float = 0.3) -> HardBranch:
    """Random weights: the mixtures of particles depend on all that is before them."""
    torch.manual_seed(seed)
    found = HardBranch(N_KNOWN, N_SUMS, WIDTH, THRESHOLD)
    with torch.no_grad():
        for weight in found.parameters():
            weight.add_(size * torch.randn_like(weight) * weight.abs().mean().clamp(min=0.1))
        # Some more than of independent particles, so that a sample has many.
        found.score_out.bias.view(-1, 3)[:, 1] += 0.3
    return found.eval()


def adds(particles: torch.Tensor, _event: torch.Tensor) -> torch.Tensor:
    return torch.cat([particles, particles[:, :1] * particles[:, 2:].cos()], dim=1)


def given(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    return (
        torch.randn(n, N_KNOWN, generator=generator),
        10 * torch.randn(n, N_SUMS, generator=generator),
    )


def drawn(model: HardBranch, n: int, seed: int = 1, most: int = 100):
    generator = torch.Generator().manual_seed(seed)
    known, totals = given(n)
    return model.draw(
        known,
        totals,
        torch.full((n,), most),
        lambda events, _: torch.randn(len(events), particle_lists.N_NOISE, generator=generator),
        adds,
    )


def log_likelihood(model: HardBranch, particles, counts) -> torch.Tensor:
    known, totals = given(len(counts))
    n_particles = torch.full_like(counts, 100)
    added = adds(particles, counts)
    with torch.no_grad():
        return model.log_likelihood(
            ListedEvents(particles, counts, n_particles, known, totals, added)
        )


def test_what_is_drawn_has_the_density_that_is_said():
    """E_p[q / p] = 1 for the densities p and q of two branches, where events are drawn from p.

    It fails where anything drawn has another law than its likelihood says, or does not add up to 1.
    """
    one = branch(1)
    other = branch(1)
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(0.08 * torch.randn_like(weight))
    particles, counts = drawn(one, 20_000)
    assert counts.float().mean() > 1
    assert counts.max() > 6
    ratio = (
        log_likelihood(other, particles, counts) - log_likelihood(one, particles, counts)
    ).exp()
    assert ratio.std() > 0.2  # they do differ
    assert float(ratio.mean()) == pytest.approx(1, abs=4 * float(ratio.std()) / math.sqrt(20_000))
    # By number of particles: p(k) E_p[q / p | k] = q(k), the share that the other draws.
    _, counts_of_other = drawn(other, 20_000, seed=2)
    for k in range(4):
        expected = float((counts_of_other == k).float().mean())
        found = float((ratio * (counts == k)).mean())
        assert found == pytest.approx(expected, abs=0.02)


def test_untrained_it_draws_independent_particles():
    """Their number is binomial, their scores are normal ones above the threshold, placed evenly."""
    torch.manual_seed(2)
    model = HardBranch(N_KNOWN, N_SUMS, WIDTH, THRESHOLD)
    with torch.no_grad():
        model.score_out.weight.zero_()
        model.partner_out.bias.view(-1, 3)[:, 0] = -50  # no particle draws another
    particles, counts = drawn(model, 20_000, most=150)
    expected = stats.binom(150, stats.norm.sf(THRESHOLD))
    found = np.bincount(counts, minlength=20)[:20] / 20_000
    np.testing.assert_allclose(found, expected.pmf(np.arange(20)), atol=0.012)
    score, eta, phi = particles.numpy().T
    above = stats.truncnorm(THRESHOLD, np.inf)
    assert stats.kstest(score, above.cdf).pvalue > 1e-3
    assert stats.kstest(eta, "norm").statistic < 0.015
    assert stats.kstest(phi, stats.uniform(-np.pi, 2 * np.pi).cdf).statistic < 0.02


@pytest.mark.parametrize("left", [1, 40, 10_000])
def test_a_score_and_its_place_among_independent_particles(left):
    """Against the law of the highest of so many, by scipy; in the far tail too."""
    above, score = np.array([8.0, 3.0, 3.0, 4.1]), np.array([2.5, 2.1, 2.99, 3.9])
    number = torch.full((4,), left)
    place, log_slope = hard_laws.rank_of_score(
        torch.from_numpy(score).float(), torch.from_numpy(above).float(), number
    )
    share = np.exp(left * (stats.norm.logcdf(score) - stats.norm.logcdf(above)))
    expected = np.where(share > 1e-300, stats.norm.ppf(share), -30)
    some = share > 1e-12
    np.testing.assert_allclose(place[some], expected[some], atol=2e-2)
    step = 1e-4
    higher, lower = (
        hard_laws.rank_of_score(torch.from_numpy(score + h), torch.from_numpy(above), number)[
            0
        ].double()
        for h in (step, -step)
    )
    slope = ((higher.double() - lower.double()) / (2 * step)).numpy()
    inside = some & (score < above - 2 * step)
    np.testing.assert_allclose(log_slope.exp()[inside], slope[inside], rtol=0.03)
    back = hard_laws.score_of_rank(place, torch.from_numpy(above).float(), number)
    np.testing.assert_allclose(back[some], score[some], atol=1e-3)


def test_places_are_a_density_on_the_cylinder():
    model = branch(2)
    partners = torch.tensor([[[3.0, 0.4, 3.1], [2.5, -1.0, 0.3]]])
    with torch.no_grad():
        one = torch.ones(1)
        before = Before(
            torch.randn(1, WIDTH), torch.zeros(1, N_KNOWN), torch.randn(1, N_SUMS), 3 * one, 9 * one
        )
        law = model._place_law(before, torch.tensor([2.2]), partners, torch.tensor([[True, True]]))
        n = 1200
        eta = torch.linspace(-12, 12, 6 * n)
        phi = (torch.arange(n) + 0.5) * (2 * math.pi / n) - math.pi
        total = 0.0
        for angle in phi[:: n // 240]:
            total += float(law.log_density(eta, angle.expand_as(eta)).exp().sum())
        total *= float(eta[1] - eta[0]) * 2 * math.pi / 240
        assert total == pytest.approx(1, abs=0.01)
        here = torch.full_like(phi, 0.7)
        density = law.log_density(here, phi).exp()
        wave = (density * torch.stack([(2 * phi).cos(), (2 * phi).sin()])).sum(1) / density.sum()
        torch.testing.assert_close(law.mean_waves(here[:1], 2)[0], wave, atol=1e-4, rtol=0)


def test_particles_lean_towards_what_q_misses_the_harder_the_more():
    """As independent particles do whose Q is known: along its direction in twice the azimuth."""
    torch.manual_seed(3)
    model = HardBranch(N_KNOWN, N_SUMS, WIDTH, THRESHOLD)
    with torch.no_grad():
        model.leaning.fill_(1.0)
    direction = torch.tensor([0.3, 1.8, -2.0, 0.3])
    q = 20 * torch.stack([direction.cos(), direction.sin()], dim=1)
    totals = torch.cat([torch.tensor([[100.0, 60.0]]).expand(4, 2), q], dim=1)
    scores = torch.tensor([2.1, 2.1, 2.1, 3.5])
    particles = torch.stack([scores, torch.zeros(4), torch.zeros(4)], dim=1)
    one = torch.ones(4, dtype=torch.int64)
    events = ListedEvents(particles, one, 100 * one, torch.zeros(4, N_KNOWN), totals, 0 * totals)
    with torch.no_grad():
        law = model.places(events)
    x, y = law.mean_waves(torch.zeros(4), 2).T
    torch.testing.assert_close(torch.atan2(y, x), direction, atol=0.02, rtol=0)
    length = torch.hypot(x, y)
    assert length[0] > 0.2
    assert length[3] > 1.5 * length[0]
    assert law.mean_waves(torch.zeros(4), 1).abs().max() < 0.02


def test_an_event_does_not_notice_others():
    model = branch(4)
    particles, counts = drawn(model, 40)
    whole = log_likelihood(model, particles, counts)
    known, totals = given(40)
    starts = counts.cumsum(0) - counts
    for k in range(40):
        mine = particles[starts[k] : starts[k] + counts[k]]
        with torch.no_grad():
            one = slice(k, k + 1)
            alone = model.log_likelihood(
                ListedEvents(
                    mine,
                    counts[one],
                    torch.tensor([100]),
                    known[one],
                    totals[one],
                    adds(mine, counts),
                )
            )
        torch.testing.assert_close(alone, whole[k : k + 1], rtol=1e-4, atol=1e-4)


def test_drawing_keeps_to_the_threshold_the_order_and_the_number_of_particles():
    model = branch(5)
    with torch.no_grad():
        model.score_out.bias.view(-1, 3)[:, 1] += 4
    particles, counts = drawn(model, 300, most=3)
    assert counts.max() == 3
    assert particles[:, 0].min() >= THRESHOLD
    event = torch.repeat_interleave(counts)
    falls = particles[1:, 0] <= particles[:-1, 0]
    assert falls[event[1:] == event[:-1]].all()
    assert particles[:, 2].abs().max() <= math.pi + 1e-6
    nothing, none = drawn(model, 5, most=0)
    assert len(nothing) == 0
    assert none.tolist() == [0] * 5


def test_the_hardest_come_first():
    scores = torch.tensor([2.1, 0.3, 4.0, 3.0, 2.5, 2.2])
    hard = torch.tensor([True, False, True, True, True, True])
    event = torch.tensor([0, 0, 0, 2, 2, 2])
    assert hardest_first(scores, hard, event).tolist() == [2, 0, 3, 4, 5]


def test_it_learns_the_core_of_a_jet_from_a_few_thousand_events():
    """The second hard particle is 0.03 from the first in three of five events, else anywhere."""
    generator = np.random.default_rng(1)

    def second(first):
        near = generator.random(len(first)) < 0.6
        close_by = first + generator.normal(0, 0.03, first.shape)
        return np.where(near[:, None], close_by, anywhere(generator, len(first)))

    apart = pairs_of(trained_on_pairs(generator, second, 400))
    distance = torch.hypot(*apart.T)
    assert float((distance < 0.1).float().mean()) == pytest.approx(0.6, abs=0.1)
    expected = 0.03 * math.sqrt(math.pi / 2)  # mean of a Rayleigh law
    assert float(distance[distance < 0.1].mean()) == pytest.approx(expected, rel=0.2)


def test_it_learns_how_far_away_in_eta_particles_know_of_each_other():
    """The second is along the first's axis or, far from it in eta, across."""
    generator = np.random.default_rng(2)
    along, across = 0.4, -0.25  # <cos 2 delta phi>

    def second(first):
        place = anywhere(generator, len(first))
        near = np.abs(place[:, 0] - first[:, 0]) < 1
        turn = generator.uniform(-np.pi, np.pi, (50, len(first)))
        density = 1 + 2 * np.where(near, along, across) * np.cos(2 * turn)
        accepted = generator.random(turn.shape) * 2 < density
        assert accepted.any(0).all()
        place[:, 1] = first[:, 1] + turn[accepted.argmax(0), np.arange(len(first))]
        return place

    eta, phi = pairs_of(trained_on_pairs(generator, second, 600)).T
    axis = (2 * phi).cos()
    assert float(axis[eta.abs() < 0.8].mean()) == pytest.approx(along, abs=0.1)
    assert float(axis[eta.abs() > 1.2].mean()) == pytest.approx(across, abs=0.1)


def anywhere(generator, n):
    return np.stack([generator.normal(size=n), generator.uniform(-np.pi, np.pi, n)], 1)


def trained_on_pairs(generator, second, n_steps) -> HardBranch:
    """On events of two hard particles; where the second is, (n, 2), follows from the first."""
    n = 128

    def events():
        score = np.sort(THRESHOLD + generator.exponential(0.3, (n, 2)))[:, ::-1]
        first = anywhere(generator, n)
        places = np.stack([first, second(first)], 1)
        places[..., 1] = (places[..., 1] + np.pi) % (2 * np.pi) - np.pi
        return torch.from_numpy(np.dstack([score, places]).reshape(-1, 3)).float()

    torch.manual_seed(1)
    model = HardBranch(N_KNOWN, N_SUMS, WIDTH, THRESHOLD)
    optimiser = torch.optim.AdamW(model.parameters(), 1e-2)
    falling = torch.optim.lr_scheduler.LinearLR(optimiser, 1, 0.05, n_steps)
    two, of_many = torch.full((n,), 2), torch.full((n,), 50)
    nothing = torch.zeros(n, N_KNOWN), torch.zeros(n, N_SUMS), torch.zeros(2 * n, N_SUMS)
    for _ in range(n_steps):
        loss = -model.log_likelihood(ListedEvents(events(), two, of_many, *nothing)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        falling.step()
    return model


def pairs_of(model: HardBranch) -> torch.Tensor:
    """(n, 2) in the score of eta and in phi, how far apart the two of drawn events are."""
    noise = torch.Generator().manual_seed(3)
    n = 3000
    found, counts = model.draw(
        torch.zeros(n, N_KNOWN),
        torch.zeros(n, N_SUMS),
        torch.full((n,), 50),
        lambda some, _: torch.randn(len(some), particle_lists.N_NOISE, generator=noise),
        lambda some, _: torch.zeros(len(some), N_SUMS),
    )
    assert float((counts == 2).float().mean()) > 0.85
    first = (counts.cumsum(0) - counts)[counts == 2]
    apart = (found[first] - found[first + 1])[:, 1:]
    turn = torch.remainder(apart[:, 1] + math.pi, 2 * math.pi) - math.pi
    return torch.stack([apart[:, 0], turn], dim=1)
