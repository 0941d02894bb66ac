"""Maps to scores of known distribution: the distribution, the inverse, the ends."""

import json

import numpy as np
import pytest
import torch
from scipy import stats

from hitools.core.quantiles import N_KNOTS, QuantileMap, QuantileMaps

RNG = np.random.default_rng(5)
POWER_LAW = RNG.pareto(4, 200_000) + 1


def test_scores_of_a_power_law_are_normal_in_the_bulk_and_in_the_tails():
    scores = QuantileMap.fit(np.log(POWER_LAW)).encode(torch.from_numpy(np.log(POWER_LAW)))
    assert stats.kstest(scores.numpy(), "norm").statistic < 0.003
    for far in (-3.0, 3.0):
        beyond = float((np.sign(far) * scores.numpy() > abs(far)).mean())
        assert beyond == pytest.approx(stats.norm.sf(3), rel=0.1)


def test_lengths_become_those_of_a_two_dimensional_normal_vector():
    lengths = RNG.gamma(2.5, 1.0, 100_000)
    scores = QuantileMap.fit(lengths, "rayleigh").encode(torch.from_numpy(lengths))
    assert stats.kstest(scores.numpy(), "rayleigh").statistic < 0.004


@pytest.mark.parametrize("law", ["normal", "rayleigh"])
def test_decoding_inverts_encoding_and_the_slope_is_its_derivative(law):
    mapping = QuantileMap.fit(RNG.gamma(3.0, 2.0, 5_000), law)
    values = torch.linspace(0.5, 25, 300, dtype=torch.float64)
    scores = mapping.encode(values)
    assert (scores.diff() > 0).all()
    torch.testing.assert_close(mapping.decode(scores), values, rtol=1e-5, atol=1e-5)
    # Between knots the map is a line: a small step finds the slope.
    step = 1e-6
    found = (mapping.decode(scores + step) - mapping.decode(scores - step)) / (2 * step)
    _, slope = mapping.decode_with_slope(scores)
    assert float(((found - slope).abs() < 1e-2 * slope).double().mean()) > 0.99


def test_beyond_the_sample_the_tail_goes_on():
    """A model of 20,000 values must be able to make the largest of ten million."""
    mapping = QuantileMap.fit(RNG.normal(size=20_000))
    far = mapping.decode(torch.tensor([5.2]))
    assert float(far) == pytest.approx(5.2, abs=1.0)


def test_a_sample_of_equal_values_is_mapped_and_returns():
    mapping = QuantileMap.fit(np.full(50, 3.0))
    assert float(mapping.decode(mapping.encode(torch.tensor([3.0])))) == pytest.approx(3, abs=1e-3)


def test_a_map_survives_json():
    mapping = QuantileMap.fit(POWER_LAW[:1000])
    again = QuantileMap.from_dict(json.loads(json.dumps(mapping.to_dict())))
    assert again == mapping
    assert len(mapping.values) == N_KNOTS


@pytest.mark.parametrize("law", ["normal", "rayleigh"])
def test_maps_of_several_columns_are_the_maps_of_each(law):
    columns = RNG.gamma([1.0, 3.0, 9.0], 2.0, (4_000, 3))
    maps = QuantileMaps(tuple(QuantileMap.fit(column, law) for column in columns.T))
    values = torch.from_numpy(RNG.gamma(3.0, 3.0, (500, 3)))
    scores = maps.encode(values)
    for k, one in enumerate(maps.maps):
        torch.testing.assert_close(scores[:, k], one.encode(values[:, k]))
    torch.testing.assert_close(maps.decode(scores), values)
