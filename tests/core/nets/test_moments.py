"""Moments against numpy, and what tilting does against exact weights."""

import numpy as np
import torch

from hitools.core.nets.moments import Moments


def example(n: int, k: int, d: int, m: int = 9) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(1)
    weights = rng.dirichlet(np.ones(m), n)
    return rng.normal(size=(n, k, m)), weights, rng.normal(size=(n, d, m))


def moments(*arrays: np.ndarray) -> Moments:
    return Moments.of(*(torch.from_numpy(one) for one in arrays))


def test_they_are_means_and_covariances():
    factors, weights, places = example(5, 3, 2)
    found = moments(factors, weights, places)
    for row in range(5):
        both = np.concatenate([factors[row], places[row]])
        covariance = np.cov(both, aweights=weights[row], bias=True)
        np.testing.assert_allclose(found.mean[row], factors[row] @ weights[row])
        np.testing.assert_allclose(found.covariance[row], covariance[:3, :3][np.triu_indices(3)])
        np.testing.assert_allclose(found.towards[row], covariance[:3, 3:])


def test_places_are_tilted_as_their_likelihood_changes():
    """The derivative of the mean under exact weights exp(f), and the spread of f, by numpy."""
    factors, weights, places = example(5, 3, 2)
    slope = np.random.default_rng(2).normal(size=(5, 3))
    shift, change = moments(factors, weights, places).tilted(torch.from_numpy(slope))
    f = np.einsum("nkm,nk->nm", factors, slope)

    def mean(amount: float) -> np.ndarray:
        tilted = weights * np.exp(amount * f)
        tilted /= tilted.sum(1, keepdims=True)
        return np.einsum("nm,ndm->nd", tilted, places)

    np.testing.assert_allclose(shift, (mean(1e-5) - mean(-1e-5)) / 2e-5, rtol=1e-6, atol=1e-9)
    average = (weights * f).sum(1)
    spread = np.sqrt((weights * f**2).sum(1) - average**2)
    np.testing.assert_allclose(change[:, 0], spread, rtol=1e-9)


def test_between_the_knots_of_a_table_they_follow_lines():
    table = moments(*example(6, 2, 1))
    place = np.array([0.0, 1.25, 3.5, 5.0, -2.0, 9.0])
    found = table.at(torch.from_numpy(place))
    for name in ("mean", "covariance", "towards"):
        knots = getattr(table, name).flatten(1).numpy()
        columns = [np.interp(place, np.arange(6), column) for column in knots.T]
        np.testing.assert_allclose(getattr(found, name).flatten(1).numpy().T, columns)
    assert table.at(torch.tensor([torch.nan], dtype=torch.float64)).mean.isnan().all()
