"""Maps that set spectra right, on scores that are wrong in known ways."""

import json

import numpy as np
import torch
from scipy import stats

from hitools.core.representation.right_spectra import LEAST_IN_CLASS, RightSpectra, SoftScores

N = 250_000


def soft(rng, n_particles, shift=0.0, skew=0.0) -> SoftScores:
    """Independent scores of particles of events of these sizes."""
    values = rng.normal(size=(len(n_particles), 2)) + shift
    return SoftScores(values + skew * values**2, n_particles)


def sizes(rng, low, high, n=N):
    return rng.integers(low, high, n)


def applied(right: RightSpectra, scores: SoftScores) -> np.ndarray:
    tensors = torch.from_numpy(scores.values), torch.from_numpy(scores.n_particles)
    return right.apply(*tensors).numpy()


def test_each_class_of_sizes_is_set_right_by_its_own_error(rng):
    """Small events are too hard, large ones too soft and skewed, real ones differ, too."""
    of_small, of_large = sizes(rng, 64, 128), sizes(rng, 128, 256)
    generated = SoftScores.joined([soft(rng, of_small, 0.2), soft(rng, of_large, -0.1, 0.05)])
    wanted = SoftScores.joined([soft(rng, of_small), soft(rng, of_large, 0.3)])
    right = RightSpectra.fit(generated, wanted)
    assert right.borders == (128,)
    for again, law in (
        (soft(rng, of_small, 0.2), stats.norm(0)),
        (soft(rng, of_large, -0.1, 0.05), stats.norm(0.3)),
    ):
        for column, before in zip(applied(right, again).T, again.values.T, strict=True):
            assert stats.kstest(column, law.cdf).statistic < 0.01
            assert stats.kstest(before, law.cdf).statistic > 0.07


def test_an_event_belongs_to_the_class_that_it_was_measured_in(rng):
    """Of sizes at the border itself, and beyond all that were seen."""
    generated = SoftScores.joined(
        [soft(rng, sizes(rng, 64, 128), 1.0), soft(rng, sizes(rng, 128, 256), -1.0)]
    )
    right = RightSpectra.fit(generated, soft(rng, sizes(rng, 64, 256, 4 * N)))
    found = applied(right, SoftScores(np.zeros((4, 2)), np.array([1, 127, 128, 5000])))
    np.testing.assert_allclose(found, np.array([[-1, -1, 1, 1]]).T.repeat(2, 1), atol=0.03)


def test_classes_of_few_particles_are_joined_with_others(rng):
    of_all = np.concatenate(
        [sizes(rng, 10, 64, 500), sizes(rng, 64, 128), sizes(rng, 128, 256, 500)]
    )
    right = RightSpectra.fit(soft(rng, of_all), soft(rng, of_all))
    assert right.borders == ()
    enough = np.concatenate([of_all, sizes(rng, 256, 512, LEAST_IN_CLASS)])
    assert RightSpectra.fit(soft(rng, enough), soft(rng, enough)).borders == (128,)
    # Enough of the generated ones alone does not do.
    assert RightSpectra.fit(soft(rng, enough), soft(rng, of_all)).borders == ()


def test_the_noise_of_few_particles_is_hardly_handed_on(rng):
    """Where nothing is wrong, maps of 20,000 particles move spectra by a third of their noise.

    Percentiles of 20,000 particles over those of as many others vary by 10%.
    """
    edges = stats.norm.ppf(np.linspace(0, 1, 101))
    many = soft(rng, sizes(rng, 64, 128, 1_000_000))
    before = [np.histogram(column, edges)[0] for column in many.values.T]
    moved = []
    for _ in range(10):
        few = sizes(rng, 64, 128, 20_000)
        after = applied(RightSpectra.fit(soft(rng, few), soft(rng, few)), many)
        moved.append(
            [
                np.std(np.histogram(column, edges)[0] / counts)
                for column, counts in zip(after.T, before, strict=True)
            ]
        )
    of_pt, of_eta = np.mean(moved, axis=0)
    assert of_pt < 0.037
    assert of_eta < 0.044


def test_waves_in_eta_are_set_right_and_a_small_shift_of_pt(rng):
    """As wrong as a network's: eta by 3% at the crests, five of them, pT by 1% of its spread."""
    n_particles = sizes(rng, 64, 128, 3_000_000)

    def handed_out() -> SoftScores:
        values = soft(rng, n_particles, 0.01).values
        share = rng.uniform(size=len(values))
        values[:, 1] = stats.norm.ppf(share + 0.03 / (10 * np.pi) * np.sin(10 * np.pi * share))
        return SoftScores(values, n_particles)

    right = RightSpectra.fit(handed_out(), soft(rng, n_particles))
    again = handed_out()
    edges = stats.norm.ppf(np.linspace(0, 1, 21))
    before, after = (
        np.std(np.histogram(eta, edges)[0] / (len(eta) / 20))
        for eta in (again.values[:, 1], applied(right, again)[:, 1])
    )
    assert before > 0.015
    assert after < 0.006
    assert abs(applied(right, again)[:, 0].mean()) < 0.004


def test_it_survives_json(rng):
    right = RightSpectra.fit(soft(rng, sizes(rng, 64, 256)), soft(rng, sizes(rng, 64, 256), 0.1))
    assert RightSpectra.from_dict(json.loads(json.dumps(right.to_dict()))) == right
