"""Confidence intervals of proportions and of bootstrapped statistics."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from creditline.settings import require

Z95 = 1.959963984540054
RESAMPLES = 1000
LEVEL = 0.95

Interval = tuple[float, float]


def wilson_interval(successes: int, trials: int) -> Interval:
    """Compute the 95 % score interval of a proportion (Wilson, 1927).

    It stays inside [0, 1] and has the stated coverage near both ends.

    Raises:
        SettingsError: if there are no trials, or more successes than trials.
    """
    require(
        0 <= successes <= trials > 0,
        "A proportion needs 0 <= successes <= trials and at least 1 trial",
        (successes, trials),
        "Pass counts of the same observations.",
    )
    rate, z2 = successes / trials, Z95**2 / trials
    middle = (rate + z2 / 2) / (1 + z2)
    half = Z95 * math.sqrt(rate * (1 - rate) / trials + z2 / (4 * trials)) / (1 + z2)
    return max(0.0, middle - half), min(1.0, middle + half)


def resample(n: int, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Draw positions with replacement, int64 of shape `(resamples, n)`.

    Equal arguments give equal draws, so statistics that are resampled separately are paired.

    Raises:
        SettingsError: if there is nothing to draw from, or no resample.
    """
    require(n >= 1, "A bootstrap needs at least 1 observation", n, "Give more.")
    require(resamples >= 1, "resamples must be at least 1", resamples, "Try 1000.")
    return np.random.default_rng((seed, n)).integers(0, n, (resamples, n))


def count_draws(n: int, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Count how often `resample` draws each observation, float64 of shape `(resamples, n)`."""
    positions = resample(n, resamples, seed)
    flat = positions + n * np.arange(len(positions))[:, None]
    counts = np.bincount(flat.ravel(), minlength=positions.size)
    return counts.reshape(positions.shape).astype(np.float64)


def percentile_interval(distribution: np.ndarray, level: float = LEVEL) -> Interval:
    """Compute the percentile interval of a bootstrap distribution (Efron, 1979)."""
    tail = 50 * (1 - level)
    low, high = np.percentile(distribution, [tail, 100 - tail])
    return float(low), float(high)


def basic_interval(distribution: np.ndarray, point: float, level: float = LEVEL) -> Interval:
    """Compute the basic bootstrap interval: the percentile interval reflected about the point.

    It corrects a bias that the sample and its resamples share. Rank correlations over few subsets
    are too low. Those of resamples are lower again, because a subset that is drawn twice is a tie.
    A percentile interval would therefore lie below the true value.
    """
    low, high = percentile_interval(distribution, level)
    return 2 * point - high, 2 * point - low


def bootstrap_interval(
    values: np.ndarray,
    statistic: Callable[..., np.ndarray] = np.mean,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """Compute the percentile bootstrap interval of a statistic of independent observations.

    Args:
        values: shape `(n,)`.
        statistic: `np.mean`, `np.median` or another function that takes `axis=1`.
        resamples: number of draws.
        seed: of the draws; equal seeds pair the draws of samples of equal size.
        level: share of the distribution inside the interval.

    Raises:
        SettingsError: if there is no observation or no resample.
    """
    values = np.asarray(values, dtype=np.float64)
    return percentile_interval(
        statistic(values[resample(len(values), resamples, seed)], axis=1), level
    )
