"""Events thrown from known distributions, for tests: no generator, no files."""

import numpy as np

from hitools.core.batch import EventBatch


def toy_events(
    n_events: int,
    seed: int = 0,
    *,
    mean_particles: float = 60,
    flow: dict[int, float] | None = None,
    weighted: bool = False,
) -> EventBatch:
    """Events with a falling pT spectrum, flat eta, and flow v_n along a random plane.

    Args:
        n_events: how many.
        seed: of the events.
        mean_particles: mean multiplicity; it is spread by a factor of about two and tied to b.
        flow: v_n of each harmonic n, the same at every pT; planes are independent.
        weighted: event weights between 0.5 and 2, larger for central events.
    """
    rng = np.random.default_rng([seed, 77])
    b = 8 * np.sqrt(rng.uniform(0, 1, n_events))
    central = 1.6 - b / 8
    n_particles = 5 + rng.poisson(mean_particles * central)
    event = np.repeat(np.arange(n_events), n_particles)
    n = event.size
    pt = 0.15 + rng.exponential(0.45, n) * np.repeat(0.9 + 0.2 * central, n_particles)
    pt += np.where(rng.uniform(size=n) < 0.004, rng.exponential(3.0, n), 0)
    eta = rng.uniform(-2.5, 2.5, n)
    phi = rng.uniform(-np.pi, np.pi, n)
    for harmonic, v_n in (flow or {}).items():
        plane = rng.uniform(-np.pi, np.pi, n_events)[event]
        phi = bend(phi, harmonic, v_n, plane)
    return EventBatch.from_particles(
        pt,
        eta,
        phi,
        n_particles,
        b,
        rng.poisson(30 * central) + 1,
        rng.poisson(14 * central) + 2,
        rng.uniform(0.5, 1.2, n_events) * central if weighted else None,
    )


def bend(phi: np.ndarray, harmonic: int, v_n: float, plane: np.ndarray | float) -> np.ndarray:
    """Map uniform angles to the density 1 + 2 v_n cos n(phi - plane), by Newton's method."""
    target = phi - plane
    x = target.copy()
    for _ in range(10):
        value = x + 2 * v_n / harmonic * np.sin(harmonic * x) - target
        x -= value / (1 + 2 * v_n * np.cos(harmonic * x))
    return x + plane
