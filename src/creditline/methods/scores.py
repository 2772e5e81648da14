"""Queries as a method scores them, and its scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from creditline.data.image_set import ImageSet
from creditline.methods.score_noise import ScoreNoise


@dataclass(frozen=True)
class QueryBatch:
    """Some queries; each kind of method reads the parts that it needs.

    Attributes:
        images: the query images, prepared like the training images.
        features: for bilinear methods, shape `(m, k)` or `(m, C, k)`, or `(m, t, C, k)` for a
            method that scores timesteps one by one.
        errors: a sample of the error of each feature, shape `(m, k)` or `(m, C, k)`; None where
            the noise was not halved.
    """

    images: ImageSet | None = None
    features: np.ndarray | None = None
    errors: np.ndarray | None = None


@dataclass(frozen=True)
class Scores:
    """Scores of every training image for some queries.

    Attributes:
        values: float64 of shape `(m, n)`; positive where training on the image lowers the
            query's loss.
        noise: split-half noise estimate of the values, where known.
        blocks: contributions whose mean over the second axis is `values`, such as one for each
            timestep or model; shape `(m, b, n)`.
    """

    values: np.ndarray
    noise: ScoreNoise | None = None
    blocks: np.ndarray | None = None

    @property
    def units(self) -> np.ndarray:
        """The blocks, or the values as one block: shape `(m, b, n)`."""
        return self.values[:, None] if self.blocks is None else self.blocks
