"""Event vectors drawn by their likelihood."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm

from hitools.core.event_scores import EVENT_SCORES
from hitools.core.nets.vector_branch import N_NOISE, ORDER, VectorBranch

N = {name: k for k, name in enumerate(EVENT_SCORES)}


def branch(seed: int = 0, lively: float = 0.0) -> VectorBranch:
    """With random weights; lively: what it says depends on what it is given."""
    torch.manual_seed(seed)
    made = VectorBranch(16, 4)
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


def test_draws_have_the_density_that_it_says():
    """E_p[q / p] = 1 for draws of p, whatever q is, if both densities are ones."""
    p, q = branch(3, 0.1), branch(4, 0.1)
    z = p.drawn(noise(200_000))
    with torch.no_grad():
        log_p, log_q = p.log_likelihood(z), q.log_likelihood(z)
    ratio = (log_q - log_p).double().exp().numpy()
    assert np.std(log_p.numpy() - log_q.numpy()) > 0.3  # they are not the same law
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
    for _ in range(400):
        optimiser.zero_grad()
        (-made.log_likelihood(events(1000)).mean()).backward()
        optimiser.step()
    drawn = made.drawn(noise(50_000))
    high = drawn[:, N["mean_pt"]] > 1.2
    low = drawn[:, N["mean_pt"]] < 0.8
    assert float(drawn[high, N["mean_eta"]].std()) == pytest.approx(2, rel=0.1)
    assert float(drawn[low, N["mean_eta"]].std()) == pytest.approx(1, rel=0.1)
