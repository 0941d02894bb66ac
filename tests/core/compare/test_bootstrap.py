"""Errors and floors from groups of events, against known variances."""

import numpy as np
import pytest

from hitools.core.compare import bootstrap as bs


def test_groups_do_not_depend_on_how_the_stream_is_cut() -> None:
    whole = bs.event_groups(0, 1000, seed=7)
    pieces = [bs.event_groups(a, b - a, seed=7) for a, b in ((0, 1), (1, 300), (300, 1000))]
    assert np.array_equal(whole, np.concatenate(pieces))
    ledger = bs.EventLedger(7)
    entered = [ledger.enter(np.ones(n, np.float32)) for n in (1, 299, 700)]
    assert np.array_equal(whole, np.concatenate(entered))
    assert not np.array_equal(whole, bs.event_groups(0, 1000, seed=8))


def test_groups_are_equally_large_and_blind_to_a_period_of_64() -> None:
    groups = bs.event_groups(0, 64 * 500)
    assert np.all(np.bincount(groups) == 500)
    every_64th = groups[::64]
    assert np.bincount(every_64th, minlength=64).max() < 30  # 7.8 expected


def test_group_sums_add_up_to_the_total() -> None:
    values = np.random.default_rng(0).normal(size=(1000, 3, 2))
    sums = bs.group_sums(values, bs.event_groups(0, 1000))
    assert sums.shape == (64, 3, 2)
    np.testing.assert_allclose(sums.sum(0), values.sum(0), rtol=1e-10, atol=1e-10)


def _mean(total: np.ndarray) -> np.ndarray:
    return total[..., 0] / total[..., 1]


def _jackknife(sums: np.ndarray) -> float:
    return float(bs.jackknife_error(_mean(bs.left_out(sums, sums[:, 1] > 0))))


def test_bootstrap_and_jackknife_give_the_standard_error_of_a_weighted_mean() -> None:
    rng = np.random.default_rng(1)
    n = 64 * 200
    boot, jack, means = [], [], []
    for trial in range(40):
        w, x = rng.uniform(0.5, 2, n), rng.exponential(1, n)
        sums = bs.group_sums(np.stack([w * x, w], 1), bs.event_groups(0, n, seed=trial))
        means.append(_mean(sums.sum(0)))
        boot.append(bs.spread(_mean(bs.totals(sums, bs.resampled_groups(seed=trial)))))
        jack.append(_jackknife(sums))
    expected = np.std(means, ddof=1)
    assert np.mean(boot) == pytest.approx(expected, rel=0.3)  # 40 means know it to 11%
    assert np.mean(jack) == pytest.approx(np.mean(boot), rel=0.05)
    assert np.std(jack) / np.mean(jack) < 0.15  # 1/sqrt(128) = 9%


def test_particles_of_one_event_do_not_count_as_independent() -> None:
    rng = np.random.default_rng(2)
    n, per_event = 6400, 50
    shared = rng.normal(size=n)  # every particle of an event repeats the event's own value
    sums = bs.group_sums(
        np.stack([per_event * shared, np.full(n, per_event)], 1), bs.event_groups(0, n)
    )
    assert _jackknife(sums) == pytest.approx(1 / np.sqrt(n), rel=0.3)


def test_halves_are_disjoint_and_equal() -> None:
    halves = bs.half_splits(20)
    assert halves.shape == (20, 64)
    assert np.all(halves.sum(1) == 32)
    assert len(np.unique(halves, axis=0)) == 20


def test_spread_ignores_a_few_undefined_replicas_only() -> None:
    replicas = np.array([[1.0, np.nan], [3.0, np.nan], [np.nan, np.nan], [2.0, 5.0]])
    out = bs.spread(replicas)
    assert out[0] == pytest.approx(1.0)
    assert np.isnan(out[1])


def test_jackknife_of_a_single_event_is_unknown() -> None:
    assert np.isnan(bs.jackknife_error(np.ones((1, 2)))).all()


def test_floor_scale_turns_half_against_half_into_the_sizes_at_hand() -> None:
    rng = np.random.default_rng(4)

    def distance(n: int, m: int) -> float:
        draws = [abs(rng.normal(size=n).mean() - rng.normal(size=m).mean()) for _ in range(1000)]
        return float(np.mean(draws))

    n, m = 2000, 100
    assert distance(n // 2, n // 2) * bs.floor_scale(n, m) == pytest.approx(distance(n, m), rel=0.1)
    assert bs.floor_scale(1000, 1000) == pytest.approx(1 / np.sqrt(2))


def test_effective_events_of_weights() -> None:
    ledger = bs.EventLedger()
    assert ledger.effective == 0
    ledger.enter(np.full(50, 3, np.float32))
    assert ledger.effective == pytest.approx(50)
    ledger.enter(np.array([1000], np.float32))
    assert ledger.effective < 2
