"""Intervals against closed forms and against their own definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from creditline.errors import SettingsError
from creditline.evaluation.interval import (
    basic_interval,
    bootstrap_interval,
    count_draws,
    percentile_interval,
    resample,
)


def test_the_mean_of_normal_values():
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    low, high = bootstrap_interval(values, resamples=4000)
    error = values.std() / math.sqrt(len(values))
    assert_allclose([low, high], values.mean() + np.array([-1.96, 1.96]) * error, atol=0.02)


def test_any_statistic_and_a_shift():
    values = np.random.default_rng(2).normal(size=50)
    low, high = bootstrap_interval(values, np.median)
    assert low <= np.median(values) <= high
    assert_allclose(bootstrap_interval(values + 7.0, np.median), [low + 7, high + 7])
    assert_allclose(bootstrap_interval(-values, np.median), [-high, -low])


def test_equal_values_have_no_width():
    assert bootstrap_interval(np.full(9, 2.5)) == (2.5, 2.5)


def test_coverage():
    """A 90 % interval of the mean holds the truth about 90 times in a hundred."""
    rng = np.random.default_rng(3)
    samples = rng.exponential(size=(300, 60))
    held = [low <= 1.0 <= high for low, high in (bootstrap_interval(s, level=0.9) for s in samples)]
    assert 0.83 <= np.mean(held) <= 0.95


def test_counts_count_the_draws():
    sample, counted = resample(7, 20, 5), count_draws(7, 20, 5)
    for positions, row in zip(sample, counted, strict=True):
        assert_allclose(np.bincount(positions, minlength=7), row)
    assert (counted.sum(1) == 7).all()
    assert np.array_equal(sample, resample(7, 20, 5))
    assert not np.array_equal(sample, resample(7, 20, 6))


def test_percentile_of_a_uniform_grid():
    assert_allclose(percentile_interval(np.linspace(0, 1, 1001)), [0.025, 0.975])


def test_pivotal_turns_the_distribution_over():
    assert_allclose(
        basic_interval(np.linspace(0, 1, 1001), 0.8), [2 * 0.8 - 0.975, 2 * 0.8 - 0.025]
    )
    assert_allclose(
        basic_interval(np.linspace(0, 1, 1001), 0.5), percentile_interval(np.linspace(0, 1, 1001))
    )


def test_nothing_to_resample():
    with pytest.raises(SettingsError, match="at least 1 observation"):
        bootstrap_interval(np.empty(0))
    with pytest.raises(SettingsError, match="resamples"):
        bootstrap_interval(np.ones(3), resamples=0)
