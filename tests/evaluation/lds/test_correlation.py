"""Rank correlations against scipy's, row by row and resample by resample."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import spearmanr

from creditline.evaluation.interval import count_draws, resample
from creditline.evaluation.lds.correlation import resampled_spearman, spearman


def rows(ties: bool):
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(2, 5, 20))
    b += a
    return (np.round(a), np.round(b)) if ties else (a, b)


@pytest.mark.parametrize("ties", [False, True])
def test_equals_scipy(ties):
    a, b = rows(ties)
    expected = [spearmanr(x, y).statistic for x, y in zip(a, b, strict=True)]
    assert_allclose(spearman(a, b), expected)


@pytest.mark.parametrize("ties", [False, True])
def test_resamples_equal_ranking_each_resample(ties):
    a, b = rows(ties)
    samples = resample(20, 30)
    expected = [
        [spearmanr(x[draw], y[draw]).statistic for x, y in zip(a, b, strict=True)]
        for draw in samples
    ]
    assert_allclose(resampled_spearman(a, b, count_draws(20, 30)), expected)


def test_some_columns_of_a_draw():
    """A fold of a larger draw holds another number of draws in each resample."""
    a, b = rows(ties=False)
    fold = np.arange(3, 14)
    samples = resample(20, 10, 1)
    result = resampled_spearman(a[:, fold], b[:, fold], count_draws(20, 10, 1)[:, fold])
    for i, draw in enumerate(samples):
        inside = draw[np.isin(draw, fold)]
        expected = [spearmanr(x[inside], y[inside]).statistic for x, y in zip(a, b, strict=True)]
        assert_allclose(result[i], expected)


def test_constants_predict_nothing_and_rounding_is_not_ranked():
    a = np.array([[3.0] * 10, list(0.1 + 1e-17 * np.arange(10)), [1.0] * 9 + [1 + 1e-15]])
    b = np.tile(np.arange(10.0), (3, 1))
    assert_allclose(spearman(a, b), 0.0)
    assert_allclose(resampled_spearman(a, b, count_draws(10, 5)), 0.0)


def test_monotone_transformations_change_nothing():
    a, b = rows(ties=True)
    assert_allclose(spearman(np.exp(a), 3 * b + 7), spearman(a, b))
    assert_allclose(spearman(-a, b), -spearman(a, b))
