"""The formula that stands for the network where particles are nothing but noise."""

import json

import torch

from hitools.core.model.first_velocity import N_EVENTS_PER_FEATURE, FirstVelocity

N_EVENT, N_SLICES, N_SUMS = 3, 4, 2
N_FEATURES = 2 + 2 * N_EVENT + N_SLICES + N_SUMS


def example(n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scores, numbers of particles, what hard ones add to sums, and velocities of the law that is
    assumed, with some noise."""
    generator = torch.Generator().manual_seed(1)
    given = torch.randn(n, N_EVENT + N_SLICES, generator=generator)
    n_particles = torch.randint(1, 400, (n,), generator=generator)
    root = n_particles.sqrt()
    of_hard = torch.randn(n, N_SUMS, generator=generator) * root[:, None]
    pt = 0.3 - 0.1 * given[:, 0] + 0.4 * given[:, 1] / root + 0.3 * of_hard[:, 1] / n_particles
    eta = -0.7 * given[:, N_EVENT + 2] / root + 0.2 / root
    exact = torch.stack([pt, eta], dim=1)
    return given, n_particles, of_hard, exact + 0.05 * torch.randn(n, 2, generator=generator)


def test_it_finds_the_law_behind_noisy_velocities_of_other_events():
    whole = example(4000)
    fitted = FirstVelocity.fit(N_EVENT, *(one[:3000] for one in whole))
    assert fitted is not None
    *others, velocities = (one[3000:] for one in whole)
    error = fitted(*others) - velocities
    assert float(error.std()) < 0.052
    assert float(velocities.std()) > 0.1


def test_a_few_events_do_not_tell_and_enough_do():
    few = N_EVENTS_PER_FEATURE * N_FEATURES - 1
    for n, known in ((few, False), (few + 1, True)):
        assert (FirstVelocity.fit(N_EVENT, *example(n)) is not None) == known


def test_it_is_written_and_read_as_json():
    fitted = FirstVelocity.fit(N_EVENT, *example(500))
    assert fitted is not None
    assert FirstVelocity.from_dict(json.loads(json.dumps(fitted.to_dict()))) == fitted
