"""Ranges of numbers, stated once: the API refuses what lies outside, and `--help` shows them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from creditline.errors import SettingsError

UNNAMED = 2**31
"""Upper limits from here on are those of number formats, which nobody reaches by intent."""


@dataclass(frozen=True)
class Bounds:
    """A range of numbers. NaN lies in none, infinity only where it is allowed.

    Attributes:
        low: smallest number, or what numbers lie above if `open_low`; None: there is none.
        high: largest number, or what numbers lie below if `open_high`; None: there is none.
        open_low: exclude `low`.
        open_high: exclude `high`.
        infinite: allow infinity.
    """

    low: float | None = None
    high: float | None = None
    open_low: bool = False
    open_high: bool = False
    infinite: bool = False

    def __contains__(self, value: float) -> bool:
        # Compared, not converted: a whole number may be too large for a float.
        if value != value or (value in (math.inf, -math.inf) and not self.infinite):
            return False
        if self.low is not None and (value < self.low or (self.open_low and value == self.low)):
            return False
        high = self.high
        return high is None or value < high or (value == high and not self.open_high)

    def __str__(self) -> str:
        """What follows "must" in a message, such as "be at least 1"."""
        if self.low is None and self.high is None:
            return "be a finite number"
        if self.high is None or self.high >= UNNAMED:
            if self.low == 0:
                return "be positive" if self.open_low else "not be negative"
            return f"be {'above' if self.open_low else 'at least'} {_number(self.low)}"
        if self.low is None:
            return f"be {'below' if self.open_high else 'at most'} {_number(self.high)}"
        left, right = "(" if self.open_low else "[", ")" if self.open_high else "]"
        return f"be in {left}{_number(self.low)}, {_number(self.high)}{right}"

    @property
    def help(self) -> str:
        """The range for `--help`; empty where every finite number is allowed."""
        if self.low is None and self.high is None:
            return ""
        return "0 or more" if str(self) == "not be negative" else str(self).removeprefix("be ")

    def check(self, name: str, value: Any, integer: bool, remedy: str) -> None:
        """Refuse a value that is no number of this range.

        Args:
            name: of the setting or option, for the message.
            value: to be checked.
            integer: whether it must be a whole number.
            remedy: what to do, a sentence.

        Raises:
            SettingsError: if the value is outside, or no number at all.
        """
        kind: type = Integral if integer else Real
        if isinstance(value, bool) or not isinstance(value, kind):
            what = "a whole number" if integer else "a number"
            raise SettingsError(f"{name} must be {what}; got {value!r}. {remedy}")
        number: Any = value
        if self.high is not None and number > self.high >= UNNAMED:
            raise SettingsError(f"{name} must be below 2^63; got {value!r}. {remedy}")
        if number != number or (number in (math.inf, -math.inf) and not self.infinite):
            raise SettingsError(f"{name} must be a finite number; got {value!r}. {remedy}")
        if number not in self:
            raise SettingsError(f"{name} must {self}; got {value!r}. {remedy}")


def _number(value: float | None) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


COUNT = Bounds(1)
"""How many there are of something that cannot be missing."""
NOT_NEGATIVE = Bounds(0)
"""A count or size that may be zero."""
POSITIVE = Bounds(0, open_low=True)
"""A size, speed or scale."""
FRACTION = Bounds(0, 1)
"""A share of something, its ends included."""
PROBABILITY = Bounds(0, 1, open_high=True)
"""A probability or decay below one."""
SEED = Bounds(0, 2**63 - 1)
"""Seeds that every random number generator takes."""
DRAWS = Bounds(1, 100_000)
"""Noise draws: errors fall with their square root, so more are a mistake."""
SIDE = Bounds(1, 8192)
"""Pixels of a side: a larger image takes more than 200 MB."""
CLIP = Bounds(0, open_low=True, infinite=True)
"""A limit that infinity switches off."""
