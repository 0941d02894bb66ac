"""Maps that set spectra right, on scores that are wrong in known ways."""

import json

import numpy as np
import torch
from scipy import stats

from hitools.core.right_spectra import LEAST_IN_CLASS, RightSpectra, SoftScores

RNG = np.random.default_rng(11)
N = 250_000


def soft(n_particles, shift=0.0, skew=0.0) -> SoftScores:
    """Independent scores of particles of events of these sizes."""
    values = RNG.normal(size=(len(n_particles), 2)) + shift
    return SoftScores(values + skew * values**2, n_particles)


def sizes(low, high, n=N):
    return RNG.integers(low, high, n)


def applied(right: RightSpectra, scores: SoftScores) -> np.ndarray:
    tensors = torch.from_numpy(scores.values), torch.from_numpy(scores.n_particles)
    return right.apply(*tensors).numpy()


def test_each_class_of_sizes_is_set_right_by_its_own_error():
    """Small events are too hard, large ones too soft and skewed, real ones differ, too."""
    of_small, of_large = sizes(64, 128), sizes(128, 256)
    generated = SoftScores.joined([soft(of_small, 0.2), soft(of_large, -0.1, 0.05)])
    wanted = SoftScores.joined([soft(of_small), soft(of_large, 0.3)])
    right = RightSpectra.fit(generated, wanted)
    assert right.borders == (128,)
    for again, law in (
        (soft(of_small, 0.2), stats.norm(0)),
        (soft(of_large, -0.1, 0.05), stats.norm(0.3)),
    ):
        for column, before in zip(applied(right, again).T, again.values.T, strict=True):
            assert stats.kstest(column, law.cdf).statistic < 0.01
            assert stats.kstest(before, law.cdf).statistic > 0.07


def test_an_event_belongs_to_the_class_that_it_was_measured_in():
    """Of sizes at the border itself, and beyond all that were seen."""
    generated = SoftScores.joined([soft(sizes(64, 128), 1.0), soft(sizes(128, 256), -1.0)])
    right = RightSpectra.fit(generated, soft(sizes(64, 256, 4 * N)))
    found = applied(right, SoftScores(np.zeros((4, 2)), np.array([1, 127, 128, 5000])))
    np.testing.assert_allclose(found, np.array([[-1, -1, 1, 1]]).T.repeat(2, 1), atol=0.03)


def test_classes_of_few_particles_are_joined_with_others():
    of_all = np.concatenate([sizes(10, 64, 500), sizes(64, 128), sizes(128, 256, 500)])
    right = RightSpectra.fit(soft(of_all), soft(of_all))
    assert right.borders == ()
    enough = np.concatenate([of_all, sizes(256, 512, LEAST_IN_CLASS)])
    assert RightSpectra.fit(soft(enough), soft(enough)).borders == (128,)
    # Enough of the generated ones alone does not do.
    assert RightSpectra.fit(soft(enough), soft(of_all)).borders == ()


def test_the_noise_of_few_particles_is_hardly_handed_on():
    """Where nothing is wrong: pT, whose maps are smooth, stays within a third of the counts' noise.

    Percentiles of 20,000 particles over those of as many others vary by 10%.
    """
    few = sizes(64, 128, 20_000)
    right = RightSpectra.fit(soft(few), soft(few))
    many = soft(sizes(64, 128, 2_000_000))
    edges = stats.norm.ppf(np.linspace(0, 1, 101))
    noise = [
        np.std(np.histogram(after, edges)[0] / np.histogram(before, edges)[0])
        for before, after in zip(many.values.T, applied(right, many).T, strict=True)
    ]
    assert noise[0] < 0.033
    assert noise[1] < 0.06


def test_waves_in_eta_are_set_right_and_a_small_shift_of_pt():
    """As wrong as a network's: eta by 3% at the crests, five of them, pT by 1% of its spread."""
    n_particles = sizes(64, 128, 3_000_000)

    def handed_out() -> SoftScores:
        values = soft(n_particles, 0.01).values
        share = RNG.uniform(size=len(values))
        values[:, 1] = stats.norm.ppf(share + 0.03 / (10 * np.pi) * np.sin(10 * np.pi * share))
        return SoftScores(values, n_particles)

    right = RightSpectra.fit(handed_out(), soft(n_particles))
    again = handed_out()
    edges = stats.norm.ppf(np.linspace(0, 1, 21))
    before, after = (
        np.std(np.histogram(eta, edges)[0] / (len(eta) / 20))
        for eta in (again.values[:, 1], applied(right, again)[:, 1])
    )
    assert before > 0.015
    assert after < 0.006
    assert abs(applied(right, again)[:, 0].mean()) < 0.004


def test_it_survives_json():
    right = RightSpectra.fit(soft(sizes(64, 256)), soft(sizes(64, 256), 0.1))
    assert RightSpectra.from_dict(json.loads(json.dumps(right.to_dict()))) == right
