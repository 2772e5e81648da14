"""Bilinear methods without curvature: an inner product of features, or its cosine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from creditline.curvature.kernel import MEMORY
from creditline.features.table import centered_chunks, feature_norms, inner_products, mean_feature
from creditline.methods.bilinear import BilinearAttributor
from creditline.methods.fit_context import FitContext


class InnerProduct(BilinearAttributor):
    """Base of these methods; scale-free ones divide by both norms.

    Class attributes:
        center: subtract the mean training feature from both sides first.
    """

    center: ClassVar[bool] = False

    def learn(self, context: FitContext) -> None:
        table = self.features_
        models = range(table.models)
        self.means_ = [mean_feature(table, c) if self.center else None for c in models]
        if self.capabilities.scale_free:
            self.norms_ = [_positive(feature_norms(table, c, self.means_[c])) for c in models]

    def model_scores(self, model: int, query: np.ndarray) -> np.ndarray:
        factors = self._centered(model, query)
        scores = inner_products(self.features_, model, factors, self.means_[model])
        if self.capabilities.scale_free:
            scores /= _positive(np.linalg.norm(factors, axis=1))[:, None]
            scores /= self.norms_[model]
        return scores

    def query_factors(self, model: int, query: np.ndarray) -> np.ndarray:
        factors = self._centered(model, query)
        if not self.capabilities.scale_free:
            return factors
        return factors / _positive(np.linalg.norm(factors, axis=1))[:, None]

    def train_factors(
        self, model: int, memory: int = MEMORY, first: int = 0
    ) -> Iterator[tuple[int, np.ndarray]]:
        for start, rows in centered_chunks(self.features_, model, self.means_[model]):
            if start + len(rows) > first:
                part = slice(start, start + len(rows))
                scale_free = self.capabilities.scale_free
                yield start, rows / (self.norms_[model][part, None] if scale_free else 1.0)

    def model_self_scores(self, model: int) -> np.ndarray:
        table = self.features_
        if self.capabilities.scale_free:
            return np.ones(table.n)
        return feature_norms(table, model, self.means_[model]) ** 2

    def _centered(self, model: int, query: np.ndarray) -> np.ndarray:
        middle = self.means_[model]
        return query if middle is None else query - middle


def _positive(values: np.ndarray) -> np.ndarray:
    """Norms with zero replaced by infinity: the cosine with a zero vector is zero."""
    return np.where(values > 0, values, np.inf)
