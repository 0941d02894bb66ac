"""Event vectors drawn by their likelihood."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm

from hitools.core.nets.mixtures import NormalMixture
from hitools.core.nets.vector_branch import N_NOISE, ORDER, Counts, VectorBranch
from hitools.core.representation.event_scores import EVENT_SCORES
from hitools.core.representation.quantiles import QuantileMap

N = {name: k for k, name in enumerate(EVENT_SCORES)}


def dice(n: int, seed: int) -> torch.Tensor:
    """Counts from 2 to 12, spread over what rounds to them."""
    generator = torch.Generator().manual_seed(seed)
    two = torch.randint(1, 7, (n, 2), generator=generator).sum(1)
    return two + torch.rand(n, generator=generator) - 0.5


DICE = Counts(QuantileMap.fit(dice(20_000, 8).numpy()), 2, 12)


def branch(seed: int = 0, lively: float = 0.0, counts: tuple[str, ...] = ()) -> VectorBranch:
    """With random weights; lively: what it says depends on what it is given."""
    torch.manual_seed(seed)
    made = VectorBranch(16, 4, dict.fromkeys(counts, DICE))
    with torch.no_grad():
        for law in made.laws:
            law.out.weight.add_(lively * torch.randn_like(law.out.weight))
    return made


def noise(n: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(n, N_NOISE, generator=torch.Generator().manual_seed(seed))


def test_it_begins_near_independent_normal_numbers():
    z = torch.randn(20_000, len(EVENT_SCORES), generator=torch.Generator().manual_seed(2))
    independent = norm.logpdf(z.numpy()).sum(1)
    with torch.no_grad():
        found = branch().log_likelihood(z).numpy()
    assert np.mean(independent - found) == pytest.approx(0, abs=0.1)
    assert np.corrcoef(independent, found)[0, 1] > 0.98


@pytest.mark.parametrize("counts", [(), ("n_particles", "n_coll")])
def test_draws_have_the_density_that_it_says(counts):
    """E_p[q / p] = 1 for draws of p, whatever q is, if both densities are ones."""
    p, q = branch(3, 0.1, counts), branch(4, 0.1, counts)
    z = p.drawn(noise(200_000))
    with torch.no_grad():
        log_p, log_q = p.log_likelihood(z), q.log_likelihood(z)
    ratio = (log_q - log_p).double().exp().numpy()
    assert np.std(log_p.numpy() - log_q.numpy()) > 0.2  # they are not the same law
    assert ratio.mean() == pytest.approx(1, abs=4 * ratio.std() / len(ratio) ** 0.5)
    assert ratio.std() / len(ratio) ** 0.5 < 0.02


def test_q_has_no_direction():
    made = branch(5, 0.3)
    z = made.drawn(noise(20_000))
    angle = torch.atan2(z[:, N["q_across"]], z[:, N["q_along"]])
    assert kstest(angle / (2 * math.pi) + 0.5, "uniform").pvalue > 0.001
    # Turned by pi, cos and sin of twice the angle are the same; mean phi is told cos and sin, too.
    with torch.no_grad():
        made.laws[ORDER.index("mean_phi")].first.weight[:, -4:-2] = 0
        made.laws[ORDER.index("mean_phi")].first.weight[:, -3:] = 0
        turned = z.clone()
        turned[:, N["q_along"]], turned[:, N["q_across"]] = -z[:, N["q_across"]], z[:, N["q_along"]]
        first, second = made.log_likelihood(z), made.log_likelihood(turned)
    torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-5)


def test_a_q_of_no_length_has_a_density():
    z = torch.zeros(2, len(EVENT_SCORES))
    z[1, N["q_along"]] = 60.0
    with torch.no_grad():
        assert branch().log_likelihood(z).isfinite().all()


def test_it_learns_that_extremes_go_together():
    """Mean eta varies twice as much where mean pT is high: uncorrelated, and not independent."""
    generator = torch.Generator().manual_seed(6)

    def events(n: int) -> torch.Tensor:
        z = torch.randn(n, len(EVENT_SCORES), generator=generator)
        z[:, N["mean_eta"]] *= torch.where(z[:, N["mean_pt"]] > 1, 2.0, 1.0)
        return z

    made = branch(7)
    optimiser = torch.optim.AdamW(made.parameters(), 1e-2)
    rate = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, 400)
    for _ in range(400):
        optimiser.zero_grad()
        (-made.log_likelihood(events(1000)).mean()).backward()
        optimiser.step()
        rate.step()
    drawn = made.drawn(noise(50_000))
    high = drawn[:, N["mean_pt"]] > 1.2
    low = drawn[:, N["mean_pt"]] < 0.8
    assert float(drawn[high, N["mean_eta"]].std()) == pytest.approx(2, rel=0.1)
    assert float(drawn[low, N["mean_eta"]].std()) == pytest.approx(1, rel=0.1)


def test_probabilities_between_edges_are_scipys():
    said = torch.randn(3, 15, generator=torch.Generator().manual_seed(9), dtype=torch.float32)
    mixture = NormalMixture.of(2 * said)
    share, mean, width = (
        one.double().numpy()
        for one in (mixture.log_weight.exp(), mixture.mean, mixture.log_width.exp())
    )
    for low, high in [(-math.inf, 0.3), (0.3, 0.31), (1.5, math.inf), (-40.0, -6.0), (4.0, 4.5)]:
        edges = (torch.full((3,), edge) for edge in (low, high))
        left, right = ((edge - mean) / width for edge in (low, high))
        # Beyond the middle from the other side: scipy has no digits there either.
        parts = np.where(left > 0, norm.sf(left) - norm.sf(right), norm.cdf(right) - norm.cdf(left))
        expected = (share * parts).sum(1)
        seen = expected > 1e-30
        found = mixture.log_between(*edges).exp().numpy()
        np.testing.assert_allclose(found[seen], expected[seen], rtol=2e-4)


def test_edges_at_infinity_have_gradients():
    said = torch.randn(5, 12, requires_grad=True)
    infinite = torch.full((5,), math.inf)
    NormalMixture.of(said).log_between(-infinite, infinite).sum().backward()
    assert said.grad is not None
    assert said.grad.isfinite().all()


def test_counts_have_probabilities_that_add_up_to_one():
    """And any score that rounds to a count says the same."""
    made = branch(10, 0.3, ("n_coll",))
    counts = torch.arange(2, 13, dtype=torch.float32)
    z = torch.zeros(11, len(EVENT_SCORES))
    z[:, N["n_coll"]] = DICE.scores.encode(counts)
    with torch.no_grad():
        known = torch.tensor([[1.0, 0.0, 0.0]]).repeat(11, 1)  # a constant, n_particles, n_part
        law = made.laws[ORDER.index("n_coll")](known)
        each = law.log_between(*DICE.edges(z[:, N["n_coll"]])).double().exp()
        assert float(each.sum()) == pytest.approx(1, abs=1e-5)
        aside = z.clone()
        aside[:, N["n_coll"]] = DICE.scores.encode(counts + 0.3)
        torch.testing.assert_close(made.log_likelihood(aside), made.log_likelihood(z))


def test_a_count_that_another_allows_alone_is_drawn_alone():
    """n_coll is twice n_part in these events, or one more."""
    generator = torch.Generator().manual_seed(11)

    def events(n: int) -> torch.Tensor:
        z = torch.randn(n, len(EVENT_SCORES), generator=generator)
        n_part = torch.randint(2, 6, (n,), generator=generator).float()
        n_coll = 2 * n_part + torch.randint(0, 2, (n,), generator=generator)
        z[:, N["n_part"]], z[:, N["n_coll"]] = map(DICE.scores.encode, (n_part, n_coll))
        return z

    made = branch(12, counts=("n_part", "n_coll"))
    optimiser = torch.optim.AdamW(made.parameters(), 1e-2)
    for _ in range(500):
        optimiser.zero_grad()
        (-made.log_likelihood(events(1000)).mean()).backward()
        optimiser.step()
    drawn = made.drawn(noise(20_000))
    n_part, n_coll = (DICE.scores.decode(drawn[:, N[name]]) for name in ("n_part", "n_coll"))
    torch.testing.assert_close(n_part, n_part.round(), atol=1e-3, rtol=0)
    less = (n_coll - 2 * n_part).round()
    assert float(((less == 0) | (less == 1)).float().mean()) > 0.995
    assert float(less.mean()) == pytest.approx(0.5, abs=0.1)
