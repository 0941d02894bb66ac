"""Maps to scores of known distribution: the distribution, the inverse, the ends."""

import json

import numpy as np
import pytest
import torch
from scipy import stats

from hitools.core.representation.quantiles import N_KNOTS, ConditionalMap, QuantileMap, QuantileMaps

POWER_LAW = np.random.default_rng(5).pareto(4, 200_000) + 1


def test_scores_of_a_power_law_are_normal_in_the_bulk_and_in_the_tails():
    scores = QuantileMap.fit(np.log(POWER_LAW)).encode(torch.from_numpy(np.log(POWER_LAW)))
    assert stats.kstest(scores.numpy(), "norm").statistic < 0.003
    for far in (-3.0, 3.0):
        beyond = float((np.sign(far) * scores.numpy() > abs(far)).mean())
        assert beyond == pytest.approx(stats.norm.sf(3), rel=0.1)


def test_lengths_become_those_of_a_two_dimensional_normal_vector(rng):
    lengths = rng.gamma(2.5, 1.0, 100_000)
    scores = QuantileMap.fit(lengths, "rayleigh").encode(torch.from_numpy(lengths))
    assert stats.kstest(scores.numpy(), "rayleigh").statistic < 0.004


@pytest.mark.parametrize("law", ["normal", "rayleigh"])
def test_decoding_inverts_encoding_and_the_slope_is_its_derivative(law, rng):
    mapping = QuantileMap.fit(rng.gamma(3.0, 2.0, 5_000), law)
    values = torch.linspace(0.5, 25, 300, dtype=torch.float64)
    scores = mapping.encode(values)
    assert (scores.diff() > 0).all()
    torch.testing.assert_close(mapping.decode(scores), values, rtol=1e-5, atol=1e-5)
    # Between knots the map is a line: a small step finds the slope.
    step = 1e-6
    found = (mapping.decode(scores + step) - mapping.decode(scores - step)) / (2 * step)
    _, slope = mapping.decode_with_slope(scores)
    assert float(((found - slope).abs() < 1e-2 * slope).double().mean()) > 0.99


def test_beyond_the_sample_the_tail_goes_on(rng):
    """A model of 20,000 values must be able to make the largest of ten million, on average."""
    maps = [QuantileMap.fit(rng.normal(size=20_000)) for _ in range(25)]
    far = np.array([float(one.decode(torch.tensor([5.2]))) for one in maps])
    assert far.mean() == pytest.approx(5.2, abs=0.6)
    assert far.std() < 1.5


def test_a_sample_of_equal_values_is_mapped_and_returns():
    mapping = QuantileMap.fit(np.full(50, 3.0))
    assert float(mapping.decode(mapping.encode(torch.tensor([3.0])))) == pytest.approx(3, abs=1e-3)


def test_a_map_survives_json():
    mapping = QuantileMap.fit(POWER_LAW[:1000])
    again = QuantileMap.from_dict(json.loads(json.dumps(mapping.to_dict())))
    assert again == mapping
    assert len(mapping.values) == N_KNOTS


@pytest.mark.parametrize("law", ["normal", "rayleigh"])
def test_maps_of_several_columns_are_the_maps_of_each(law, rng):
    columns = rng.gamma([1.0, 3.0, 9.0], 2.0, (4_000, 3))
    maps = QuantileMaps(tuple(QuantileMap.fit(column, law) for column in columns.T))
    values = torch.from_numpy(rng.gamma(3.0, 3.0, (500, 3)))
    scores = maps.encode(values)
    for k, one in enumerate(maps.maps):
        torch.testing.assert_close(scores[:, k], one.encode(values[:, k]))
    torch.testing.assert_close(maps.decode(scores), values)


def test_a_conditional_map_makes_every_class_normal(rng):
    """Location, spread and shape that change with another quantity: none of it is left."""
    other = rng.normal(size=200_000)
    values = rng.gamma(np.exp(1 - other / 2)) * np.exp(other / 3)
    mapping = ConditionalMap.fit(values, other)
    given = torch.from_numpy(other)
    scores = mapping.encode(torch.from_numpy(values), given)
    plain = QuantileMap.fit(values).encode(torch.from_numpy(values)).numpy()
    for low in (-2.0, -1.0, 1.0):
        some = (other > low) & (other < low + 0.3)
        assert stats.kstest(scores.numpy()[some], "norm").statistic < 0.02
        assert stats.kstest(plain[some], "norm").statistic > 0.05
    torch.testing.assert_close(
        mapping.decode(scores, given), torch.from_numpy(values), rtol=1e-4, atol=1e-5
    )


def test_a_conditional_map_of_few_events_is_one_for_all(rng):
    values = rng.normal(size=300)
    mapping = ConditionalMap.fit(values, np.linspace(-3, 3, 300))
    given = torch.tensor([-2.0, 0.0, 2.0])
    assert mapping.at == (0.0,)
    assert mapping.decode(torch.ones(3), given).unique().numel() == 1


def test_a_conditional_map_survives_json_and_reads_one_that_nothing_else_enters(rng):
    mapping = ConditionalMap.fit(POWER_LAW, rng.normal(size=len(POWER_LAW)), "rayleigh")
    assert len(mapping.at) > 5
    assert ConditionalMap.from_dict(json.loads(json.dumps(mapping.to_dict()))) == mapping
    plain = QuantileMap.fit(POWER_LAW)
    values, given = torch.from_numpy(POWER_LAW[:50]), torch.zeros(50, dtype=torch.float64)
    same = ConditionalMap.from_dict(plain.to_dict()).encode(values, given)
    torch.testing.assert_close(same, plain.encode(values))
