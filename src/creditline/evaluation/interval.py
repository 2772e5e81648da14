"""Intervals for proportions."""

from __future__ import annotations

import math

from creditline.settings import require

Z95 = 1.959963984540054


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson, 1927), sensible near 0 and 1 where others are not.

    Raises:
        SettingsError: if there are no trials, or more successes than trials.
    """
    require(0 <= successes <= trials > 0, "successes of trials", (successes, trials), "")
    rate, z2 = successes / trials, Z95**2 / trials
    middle = (rate + z2 / 2) / (1 + z2)
    half = Z95 * math.sqrt(rate * (1 - rate) / trials + z2 / (4 * trials)) / (1 + z2)
    return max(0.0, middle - half), min(1.0, middle + half)
