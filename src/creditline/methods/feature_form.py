"""Scores of a bilinear method as inner products with the features themselves."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class FeatureForm:
    """What gives the scores of some queries under one model: `<weights, x_i - mean> * scale_i`.

    Features of few bits are multiplied as they are stored, so a method that is to be searched on
    them has its scores in this form.

    Attributes:
        weights: one row per query, float64 of shape `(m, k)`.
        mean: is subtracted from every feature, shape `(k,)`; None for nothing.
        scale: factor of each training image, shape `(n,)`, or one for all.
    """

    weights: np.ndarray
    mean: np.ndarray | None = None
    scale: np.ndarray | float = 1.0

    @property
    def offset(self) -> np.ndarray:
        """Inner products of the weights with the mean, shape `(m,)`."""
        return np.zeros(len(self.weights)) if self.mean is None else self.weights @ self.mean

    def of_query(self, position: int) -> FeatureForm:
        """The form of one query."""
        return replace(self, weights=self.weights[position : position + 1])

    def scores(self, products: np.ndarray, rows: np.ndarray | slice) -> np.ndarray:
        """Scores of some training images from the weights' inner products with their features.

        Args:
            products: shape `(m, b)`.
            rows: positions of the images.
        """
        scale = self.scale if np.isscalar(self.scale) else np.asarray(self.scale)[rows]
        return (products - self.offset[:, None]) * scale
