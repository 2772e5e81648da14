"""Score transform: from a plain score to the credit of an image.

A sum of scores over half of the training images adds up their noise too, and counts opponents
against proponents. Transforms drop one or both:

    plain        s
    rectified    max(s, 0)
    squared      s^2
    power        max(s, 0)^p
    threshold    max(s - tau, 0), the soft threshold that ends the original TRAK (Park et al., ICML
                 2023, section 3.3) with a threshold of a given height instead of a given count

The height tau is in units of the spread of the query's scores (their standard deviation), of the
standard error of each score (its noise floor), or absolute. Transforms preserve the ranking of
proponents, except a threshold in units of errors, which differ between images. The square counts an
opponent as a proponent, as in DAS (Lin et al., ICLR 2025): what counts is that an image has an
effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from creditline.bounds import NOT_NEGATIVE, POSITIVE
from creditline.errors import SettingsError
from creditline.settings import setting, validate_settings

TransformName = Literal["plain", "rectified", "squared", "power", "threshold"]
ThresholdUnit = Literal["spread", "error", "absolute"]


@dataclass(frozen=True)
class ScoreTransform:
    """A function of scores; features do not depend on it.

    Raises:
        SettingsError: on an unknown transform or unit, a power that is not positive or a threshold
            that is negative.
    """

    transform: TransformName = setting(
        "plain",
        "function of scores that credit is made of: plain, rectified, squared, power or threshold",
    )
    exponent: float = setting(1.5, "exponent of the power transform", bounds=POSITIVE)
    threshold: float = setting(
        1.0, "height of the threshold transform, in units of threshold_unit", bounds=NOT_NEGATIVE
    )
    threshold_unit: ThresholdUnit = setting(
        "spread", "unit of the threshold: sd or standard error of a query's scores, or 1"
    )

    def __post_init__(self) -> None:
        validate_settings(self)

    @property
    def needs_error(self) -> bool:
        """Whether the transform depends on standard errors."""
        return self.transform == "threshold" and self.threshold_unit == "error"

    def apply(self, scores: np.ndarray, error: np.ndarray | None = None) -> np.ndarray:
        """Transform scores.

        Args:
            scores: plain scores, images along the last axis.
            error: standard error of each score, for a threshold in that unit.

        Returns:
            float64 of the same shape.

        Raises:
            SettingsError: if standard errors are needed and not given.
        """
        if self.transform == "plain":
            return scores
        if self.transform == "squared":
            return scores**2
        if self.transform == "threshold":
            scores = scores - self._height(scores, error)
        rectified = np.maximum(scores, 0.0)
        return rectified**self.exponent if self.transform == "power" else rectified

    def credit(self, scores: np.ndarray, error: np.ndarray | None = None) -> np.ndarray:
        """Transformed scores, with negative values set to zero; shares are sums of them."""
        return np.maximum(self.apply(scores, error), 0.0)

    def __str__(self) -> str:
        if self.transform == "power":
            return f"max(s, 0)^{self.exponent:g}"
        if self.transform == "threshold":
            unit = {"spread": " sd", "error": " standard errors", "absolute": ""}
            return f"max(s − {self.threshold:g}{unit[self.threshold_unit]}, 0)"
        return {"plain": "s", "rectified": "max(s, 0)", "squared": "s²"}[self.transform]

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
