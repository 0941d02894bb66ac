"""AUC, ROC and p-value of weighted scores, against scikit-learn, SciPy and plain sums."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, norm, rankdata, ttest_ind
from sklearn.metrics import roc_auc_score, roc_curve

from hitools.core.compare.classify.scores import RankedScores, combined_p_value
from hitools.core.compare.classify.separation import Answer, Separation, weighted_quantiles


def scores(n=300, m=250, shift=0.3, seed=0, decimals=None, weighted=True):
    """Normal scores of a reference (shifted) and a sample; rounded ones have ties."""
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.normal(shift, 1, n), rng.normal(0, 1, m)])
    if decimals is not None:
        values = values.round(decimals)
    weights = rng.uniform(0.2, 3, n + m) if weighted else np.ones(n + m)
    return values, np.arange(n + m) < n, weights


@pytest.mark.parametrize("decimals", [None, 1, 0])
@pytest.mark.parametrize("weighted", [False, True])
def test_auc_is_that_of_scikit_learn(decimals, weighted):
    values, is_reference, weights = scores(decimals=decimals, weighted=weighted)
    ranked = RankedScores.of(values, is_reference, weights)
    expected = roc_auc_score(is_reference, values, sample_weight=weights)
    assert ranked.auc() == pytest.approx(expected, abs=1e-12)
    drawn = np.random.default_rng(1).poisson(1, len(values))
    expected = roc_auc_score(is_reference, values, sample_weight=weights * drawn)
    assert ranked.auc(drawn) == pytest.approx(expected, abs=1e-12)


def test_roc_is_that_of_scikit_learn():
    values, is_reference, weights = scores(decimals=1)
    sample, reference = RankedScores.of(values, is_reference, weights).roc()
    fpr, tpr, _ = roc_curve(is_reference, values, sample_weight=weights, drop_intermediate=False)
    np.testing.assert_allclose(sample, fpr, atol=1e-12)
    np.testing.assert_allclose(reference, tpr, atol=1e-12)


@pytest.mark.parametrize("decimals", [None, 1, 0])
@pytest.mark.parametrize("shift", [-0.1, 0, 0.2])
def test_p_value_without_weights_is_that_of_welch_on_ranks_and_nearly_mann_whitney(decimals, shift):
    values, is_reference, weights = scores(2000, 1500, shift, decimals=decimals, weighted=False)
    found = norm.isf(RankedScores.of(values, is_reference, weights).p_value())
    ranks = rankdata(values)
    welch = ttest_ind(
        ranks[is_reference], ranks[~is_reference], equal_var=False, alternative="greater"
    )
    assert found == pytest.approx(norm.isf(welch.pvalue), rel=1e-2, abs=3e-3)
    mann_whitney = mannwhitneyu(
        values[is_reference],
        values[~is_reference],
        alternative="greater",
        method="asymptotic",
        use_continuity=False,
    )
    assert found == pytest.approx(norm.isf(mann_whitney.pvalue), rel=2e-2, abs=3e-3)


def test_mid_ranks_and_the_jackknife_are_plain_sums():
    values, is_reference, weights = scores(20, 15, decimals=0)
    ranked = RankedScores.of(values, is_reference, weights)
    effective = np.empty(len(values))  # how much each event is worth in the joint sample
    for members in (is_reference, ~is_reference):
        effective[members] = weights[members] * weights[members].sum()
        effective[members] /= (weights[members] ** 2).sum()
    below = (values[None] < values[:, None]) + 0.5 * (values[None] == values[:, None])
    mid_ranks = below @ effective / effective.sum()
    np.testing.assert_allclose(ranked.mid_ranks(), mid_ranks, rtol=1e-12)

    def difference(counted):
        reference, sample = weights * is_reference * counted, weights * ~is_reference * counted
        return reference @ mid_ranks / reference.sum() - sample @ mid_ranks / sample.sum()

    everyone = np.ones(len(values))
    assert difference(everyone) == pytest.approx(ranked.auc() - 0.5, abs=1e-12)
    without = [difference(everyone - one) for one in np.eye(len(values))]
    np.testing.assert_allclose(ranked.jackknife(), difference(everyone) - without, rtol=1e-9)


def heavy_and_high(rng, n):
    """Heavy events score high in both samples, of unequal size."""
    values = rng.normal(size=n)
    return values, np.arange(n) < 0.64 * n, np.exp(0.8 * values) * rng.uniform(0.5, 1.5, n)


def reference_weighted(rng, n):
    """A reference with weights against a sample without, of one parent all the same."""
    values, is_reference = rng.normal(size=n), np.arange(n) < 0.5 * n
    weights = np.where(is_reference, np.exp(0.8 * values), 1.0)
    return np.where(is_reference, values, values + 0.8), is_reference, weights


def sample_weighted(rng, n):
    """The other way round: by the same weights, which here go down with the score."""
    values, is_reference, weights = reference_weighted(rng, n)
    return -values, ~is_reference, weights


@pytest.mark.parametrize("n", [220, 2000])
@pytest.mark.parametrize("made", [heavy_and_high, reference_weighted, sample_weighted])
def test_p_values_are_uniform_where_weights_go_with_the_score(made, n):
    """There is no difference, and none may be found; weights halve the effective events."""
    rng = np.random.default_rng(3)
    found = np.array([RankedScores.of(*made(rng, n)).p_value() for _ in range(1500)])
    for level in (0.01, 0.05, 0.25, 0.5, 0.75):
        error = np.sqrt(level * (1 - level) / 1500)
        assert np.mean(found < level) == pytest.approx(level, abs=4 * error + 0.02 * (n < 1000))


@pytest.mark.parametrize("n", [220, 1000])
def test_few_heavy_events_are_no_difference(n):
    """Of weights that leave a seventh of the effective events, in one sample only."""
    rng = np.random.default_rng(5)
    found = []
    for _ in range(1500):
        values, is_reference = rng.normal(size=n), np.arange(n) < 0.5 * n
        weights = np.where(is_reference, 1.0, np.exp(1.4 * values))
        shifted = np.where(is_reference, values + 1.4, values)
        found.append(RankedScores.of(shifted, is_reference, weights).p_value())
    assert np.mean(np.array(found) < 0.05) < 0.09  # Mann-Whitney with weights: 0.22, 0.15
    assert np.mean(np.array(found) < 0.001) < 0.008  # 0.07, 0.04


@pytest.mark.parametrize("seed", range(20))
def test_equal_scores_say_nothing(seed):
    weights = np.random.default_rng(seed).uniform(0.1, 3, 150)
    ranked = RankedScores.of(np.zeros(150), np.arange(150) < 60, weights)
    assert ranked.auc() == pytest.approx(0.5, abs=1e-12)
    assert ranked.p_value() == 1


@pytest.mark.parametrize("seed", range(20))
def test_samples_with_a_score_each_are_apart(seed):
    weights = np.random.default_rng(seed).uniform(0.1, 3, 150)
    is_reference = np.arange(150) < 60
    assert RankedScores.of(is_reference.astype(float), is_reference, weights).p_value() == 0
    assert RankedScores.of(is_reference.astype(float), ~is_reference, weights).p_value() == 1


def test_several_p_values_combine_to_a_valid_one_under_any_dependence():
    assert combined_p_value(np.array([0.03])) == 0.03
    assert combined_p_value(np.array([0.01, 0.9, 0.02])) == pytest.approx(0.03)
    rng = np.random.default_rng(4)
    base = rng.normal(size=(4000, 1))
    for correlation in (0.0, 0.5, 0.99):
        z = correlation**0.5 * base + (1 - correlation) ** 0.5 * rng.normal(size=(4000, 5))
        combined = np.array([combined_p_value(row) for row in norm.sf(z)])
        assert np.mean(combined < 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 4000)


def test_weighted_quantiles_are_those_of_numpy_and_follow_the_weight():
    values = np.sort(np.random.default_rng(0).normal(size=40))
    at = (0.0, 0.01, 0.25, 0.5, 0.9, 1.0)
    expected = np.quantile(values, at, method="hazen")
    np.testing.assert_allclose(weighted_quantiles(values, np.full(40, 0.3), at), expected)
    heavy = np.where(np.arange(40) == 7, 100.0, 1.0)
    (found,) = weighted_quantiles(values, heavy, (0.5,))
    assert values[7] <= found < (values[7] + values[8]) / 2


def separation(seed, n=200, n_seeds=2, shift=0.3):
    """Trainings that differ little, and test parts that overlap, as in the real thing."""
    rng = np.random.default_rng(seed)
    values, is_reference, weights = scores(n, n, shift, seed)
    answers = []
    for _ in range(n_seeds):
        rows = np.sort(rng.permutation(2 * n)[:n])
        mine = values[rows] + rng.normal(0, 0.1, n)
        ranked = RankedScores.of(mine, is_reference[rows], weights[rows])
        answers.append(Answer(rows, ranked, mine, epochs=1))
    return Separation("event", is_reference, weights, tuple(answers), seed=1)


def test_bootstrap_error_is_the_spread_over_repeated_experiments():
    experiments = [separation(seed).statistics["auc"] for seed in range(60)]
    values, errors = np.array(experiments).T
    assert values.std(ddof=1) == pytest.approx(errors.mean(), rel=0.3)
