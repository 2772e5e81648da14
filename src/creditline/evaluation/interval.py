"""Intervals: of a proportion, and of anything that can be computed again on a resample."""

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
    """95 % interval of a proportion (Wilson, 1927), sensible near 0 and 1 where others are not.

    Raises:
        SettingsError: if there are no trials, or more successes than trials.
    """
    require(0 <= successes <= trials > 0, "successes of trials", (successes, trials), "")
    rate, z2 = successes / trials, Z95**2 / trials
    middle = (rate + z2 / 2) / (1 + z2)
    half = Z95 * math.sqrt(rate * (1 - rate) / trials + z2 / (4 * trials)) / (1 + z2)
    return max(0.0, middle - half), min(1.0, middle + half)


def resample(n: int, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Positions drawn with replacement, int64 of shape `(resamples, n)`.

    Equal arguments give equal draws, so two quantities that are resampled apart are paired.

    Raises:
        SettingsError: if there is nothing to draw from, or no resample.
    """
    require(n >= 1, "A bootstrap needs at least 1 observation", n, "Give more.")
    require(resamples >= 1, "resamples must be at least 1", resamples, "Try 1000.")
    return np.random.default_rng((seed, n)).integers(0, n, (resamples, n))


def counts(n: int, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """How often each of n observations is in each draw of `resample`; float64, `(resamples, n)`."""
    drawn = resample(n, resamples, seed)
    flat = drawn + n * np.arange(len(drawn))[:, None]
    return np.bincount(flat.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.float64)


def percentile_interval(distribution: np.ndarray, level: float = LEVEL) -> Interval:
    """The middle `level` of a bootstrap distribution (Efron's percentile interval)."""
    tail = 50 * (1 - level)
    low, high = np.percentile(distribution, [tail, 100 - tail])
    return float(low), float(high)


def basic_interval(distribution: np.ndarray, point: float, level: float = LEVEL) -> Interval:
    """The bootstrap distribution's middle `level`, turned over about the point (basic bootstrap).

    For what a small sample and resampling distort alike. Rank correlations of few subsets are too
    low, and those of resamples lower again, because a subset drawn twice is a tie: percentile
    intervals lie below the truth, the more so the higher it is.
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
    """Percentile interval of a statistic of independent observations.

    Args:
        values: shape `(n,)`.
        statistic: `np.mean`, `np.median` or anything else that takes `axis=1`.
        resamples: draws.
        seed: of the draws; equal seeds pair the draws of samples of equal size.
        level: share of the distribution inside.

    Raises:
        SettingsError: on no observation or no resample.
    """
    values = np.asarray(values, dtype=np.float64)
    return percentile_interval(
        statistic(values[resample(len(values), resamples, seed)], axis=1), level
    )
