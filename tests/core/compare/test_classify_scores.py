"""AUC, ROC and p-value of weighted scores, against scikit-learn, SciPy and plain sums."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, norm
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
def test_p_value_without_weights_is_that_of_mann_whitney(decimals, shift):
    values, is_reference, weights = scores(2000, 2000, shift, decimals=decimals, weighted=False)
    found = RankedScores.of(values, is_reference, weights).p_value()
    expected = mannwhitneyu(
        values[is_reference],
        values[~is_reference],
        alternative="greater",
        method="asymptotic",
        use_continuity=False,
    ).pvalue
    assert norm.isf(found) == pytest.approx(norm.isf(expected), rel=2e-3, abs=1e-3)


@pytest.mark.parametrize(("n", "beyond"), [(220, 0.04), (2000, 0.0)])
def test_p_values_are_uniform_where_weights_go_with_the_score(n, beyond):
    """Heavy events score high, in both samples: no difference, and none may be found.

    Of few events one is found too often, by as much as RankedScores.p_value says.
    """
    rng = np.random.default_rng(3)
    found = []
    for _ in range(1500):
        values = rng.normal(size=n)
        weights = np.exp(0.8 * values) * rng.uniform(0.5, 1.5, n)
        is_reference = np.arange(n) < 0.64 * n
        found.append(RankedScores.of(values, is_reference, weights).p_value())
    for level in (0.05, 0.25, 0.5, 0.75):
        share = np.mean(np.array(found) < level)
        error = np.sqrt(level * (1 - level) / 1500)
        assert level - 4 * error < share < level + beyond + 4 * error


def test_equal_scores_say_nothing():
    ranked = RankedScores.of(np.zeros(40), np.arange(40) < 20, np.ones(40))
    assert ranked.auc() == 0.5
    assert ranked.p_value() == 1


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
