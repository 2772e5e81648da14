"""Score shape: from a plain score to what an image is credited with.

A sum of scores over half of the training images adds up their noise too, and counts opponents
against proponents. Shapes drop one or both:

    plain        s
    rectified    max(s, 0)
    power        max(s, 0)^p
    threshold    max(s - tau, 0), the soft threshold that ends the original TRAK (Park et al., ICML
                 2023, section 3.3) with a threshold of a given height instead of a given count

The height tau is in units of the spread of the query's scores (their standard deviation), of the
standard error of each score (its noise floor), or absolute. Rankings of proponents stay the same,
but for a threshold in units of errors, which differ between images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from creditline.errors import SettingsError
from creditline.settings import require, setting, validate_choices

ShapeName = Literal["plain", "rectified", "power", "threshold"]


@dataclass(frozen=True)
class ScoreTransform:
    """How scores are shaped; no feature depends on it.

    Raises:
        SettingsError: on an unknown shape or unit, a power that is not positive or a threshold
            that is negative.
    """

    shape: ShapeName = setting(
        "plain", "what becomes of a score: plain, rectified, power or threshold"
    )
    exponent: float = setting(1.5, "of the power shape")
    threshold: float = setting(1.0, "height of the threshold shape, in units of threshold_unit")
    threshold_unit: Literal["spread", "error", "absolute"] = setting(
        "spread", "unit of the threshold: sd or standard error of a query's scores, or 1"
    )

    def __post_init__(self) -> None:
        validate_choices(self)
        for name, low in (("exponent", False), ("threshold", True)):
            value = getattr(self, name)
            require(
                math.isfinite(value) and (value > 0 or (low and value == 0)),
                f"{name} must be a finite number, {'not negative' if low else 'above 0'}",
                value,
                "Leave it out for the default.",
            )

    @property
    def needs_error(self) -> bool:
        """Whether it cannot be had without standard errors."""
        return self.shape == "threshold" and self.threshold_unit == "error"

    def apply(self, scores: np.ndarray, error: np.ndarray | None = None) -> np.ndarray:
        """Shaped scores.

        Args:
            scores: plain ones, images along the last axis.
            error: their standard error, for a threshold in that unit.

        Returns:
            float64 of the same shape.

        Raises:
            SettingsError: if standard errors are needed and not there.
        """
        if self.shape == "plain":
            return scores
        if self.shape == "threshold":
            scores = scores - self._height(scores, error)
        rectified = np.maximum(scores, 0.0)
        return rectified**self.exponent if self.shape == "power" else rectified

    def credit(self, scores: np.ndarray, error: np.ndarray | None = None) -> np.ndarray:
        """Shaped scores that are not negative: what shares are made of."""
        return np.maximum(self.apply(scores, error), 0.0)

    def __str__(self) -> str:
        if self.shape == "power":
            return f"max(s, 0)^{self.exponent:g}"
        if self.shape == "threshold":
            unit = {"spread": " sd", "error": " standard errors", "absolute": ""}
            return f"max(s − {self.threshold:g}{unit[self.threshold_unit]}, 0)"
        return {"plain": "s", "rectified": "max(s, 0)"}[self.shape]

    def _height(self, scores: np.ndarray, error: np.ndarray | None) -> np.ndarray | float:
        if self.threshold_unit == "absolute":
            return self.threshold
        if self.threshold_unit == "spread":
            return self.threshold * scores.std(axis=-1, keepdims=True)
        if error is None:
            raise SettingsError(
                "A threshold at the noise floor needs the standard error of the scores, and these "
                "have none: index and queries each need two or more evaluations of an image "
                "(timesteps x draws) and their halves kept (no --no-halves). Or choose "
                "threshold_unit='spread'."
            )
        return self.threshold * error
