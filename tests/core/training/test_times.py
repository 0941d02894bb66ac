"""Where the diffusion times of particles fall."""

import numpy as np
import pytest

from hitools.core.diffusion.solvers import SOLVERS
from hitools.core.model.sampling import SMALL
from hitools.core.training.times import ParticleTimes


def evaluated(steps: int) -> list[float]:
    """Where the sampler asks for a velocity, but for the first, which is a formula."""
    seen: list[float] = []

    def velocity(z: np.ndarray, t: float) -> np.ndarray:
        seen.append(t)
        return z

    SOLVERS["ab2"].solve(velocity, np.zeros(1), steps, "power")
    return seen[1:]


@pytest.mark.parametrize(
    ("n_particles", "steps"), [(SMALL, 4), (SMALL - 1, 8), (SMALL // 2 - 1, 16), (1, 16)]
)
def test_most_times_are_those_at_which_the_sampler_evaluates(n_particles, steps):
    even = np.random.default_rng(1).random(40_000).astype(np.float32)
    t = ParticleTimes.of(0.8, 4, 16, "power")(even, np.full(even.shape, n_particles))
    wanted = np.float32(evaluated(steps))
    assert len(wanted) == steps - 1
    counts = np.array([(t == one).sum() for one in wanted])
    np.testing.assert_allclose(counts, 0.8 * len(t) / len(wanted), rtol=0.08)
    others = np.sort(t[~np.isin(t, wanted)])
    assert abs(len(others) / len(t) - 0.2) < 0.01
    np.testing.assert_allclose(others, np.linspace(0, 1, len(others)), atol=0.03)
    assert t.min() >= 0
    assert t.max() < 1


def test_an_event_keeps_its_time_whatever_it_is_trained_with():
    drawn = ParticleTimes.of(0.5, 4, 0, "power")
    even = np.float32([0.1, 0.9, 0.3, 0.7])
    counts = np.array([3, 300, 150, 20])
    alone = [drawn(even[k : k + 1], counts[k : k + 1])[0] for k in range(4)]
    np.testing.assert_array_equal(drawn(even, counts), alone)


def test_without_a_share_or_steps_between_all_times_are_even():
    assert ParticleTimes.of(0.0, 4, 8, "power") is None
    assert ParticleTimes.of(0.8, 1, 0, "power") is None
