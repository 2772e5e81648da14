"""From features of queries to scores, their noise and their shape.

The feature of a region is the gradient of an objective whose weights are 1 on average, so that it
can be centered and compared like that of a whole picture. Its scores are multiplied by the share of
the picture that the region is: so the scores of regions that part a picture between them add up to
the picture's own, wherever objective and method are linear. A cosine knows no lengths, and is left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from creditline.features.table import FeatureTable
from creditline.indexing.fitted import FitCache
from creditline.indexing.queries import FeatureBlock
from creditline.methods.base import Method
from creditline.methods.noise import ScoreNoise
from creditline.methods.shape import ScoreTransform


@dataclass(frozen=True)
class QueryScoring:
    """How blocks of query features are scored.

    Attributes:
        method: fitted to the table.
        table: features of the training images.
        fitted: what is kept of fitting to it.
        shape: of the scores that count.
    """

    method: Method
    table: FeatureTable
    fitted: FitCache
    shape: ScoreTransform

    def plain(self, block: FeatureBlock) -> np.ndarray:
        """Scores of shape `(b, units, n)`."""
        queries = block.values.reshape(-1, self.table.models, self.table.dim)
        scores = self.method.attribute(queries).reshape(len(block.positions), -1, self.table.n)
        return scores * self._lengths(block)[:, None, None]

    def with_noise(self, block: FeatureBlock) -> tuple[np.ndarray, ScoreNoise | None]:
        """Scores as `plain`, and their noise, where both sides' noise has halves."""
        if self.table.errors is None or block.errors is None:
            return self.plain(block), None
        self.fitted.fit_halves(self.method)
        scores, noise = self.method.scored(block.values[:, 0], block.errors)
        lengths = self._lengths(block)[:, None]
        return (scores * lengths)[:, None], noise.scaled(lengths)

    def shaped(self, block: FeatureBlock) -> np.ndarray:
        """Scores in the method's shape, `(b, units, n)`."""
        if not self.shape.needs_error:
            return self.shape.apply(self.plain(block))
        scores, noise = self.with_noise(block)
        return self.shape.apply(scores, None if noise is None else noise.error[:, None])

    def sides(self, block: FeatureBlock) -> np.ndarray:
        """What of the queries meets what is kept of training images, shape `(b, C, k)`."""
        return self.method.query_sides(block.values[:, 0]) * self._lengths(block)[:, None, None]

    def _lengths(self, block: FeatureBlock) -> np.ndarray:
        return np.ones(len(block.shares)) if self.method.cosine else block.shares
