"""Methods without curvature: an inner product of features, its cosine, or that of what is left of
them without their mean."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Self

import numpy as np

from creditline.curvature.kernel import MEMORY
from creditline.features.table import (
    FeatureTable,
    centered_chunks,
    feature_norms,
    inner_products,
    mean_feature,
)
from creditline.methods.base import Method


class InnerProduct(Method):
    """Base of these methods.

    Class attributes:
        cosine: divide by both norms.
        center: subtract the mean training feature from both sides first.
    """

    center: ClassVar[bool] = False

    def fit(self, train: FeatureTable | np.ndarray) -> Self:
        super().fit(train)
        table = self.features_
        models = range(table.models)
        self.means_ = [mean_feature(table, c) if self.center else None for c in models]
        if self.cosine:
            self.norms_ = [_positive(feature_norms(table, c, self.means_[c])) for c in models]
        return self

    def model_scores(self, model: int, query: np.ndarray) -> np.ndarray:
        side = self._less_mean(model, query)
        scores = inner_products(self._fitted(), model, side, self.means_[model])
        if self.cosine:
            scores /= _positive(np.linalg.norm(side, axis=1))[:, None]
            scores /= self.norms_[model]
        return scores

    def query_side(self, model: int, query: np.ndarray) -> np.ndarray:
        side = self._less_mean(model, query)
        return side / _positive(np.linalg.norm(side, axis=1))[:, None] if self.cosine else side

    def train_side(
        self, model: int, memory: int = MEMORY, first: int = 0
    ) -> Iterator[tuple[int, np.ndarray]]:
        for start, rows in centered_chunks(self._fitted(), model, self.means_[model]):
            if start + len(rows) > first:
                part = slice(start, start + len(rows))
                yield start, rows / (self.norms_[model][part, None] if self.cosine else 1.0)

    def model_self_scores(self, model: int) -> np.ndarray:
        table = self._fitted()
        return (
            np.ones(table.n)
            if self.cosine
            else feature_norms(table, model, self.means_[model]) ** 2
        )

    def _less_mean(self, model: int, query: np.ndarray) -> np.ndarray:
        middle = self.means_[model]
        return query if middle is None else query - middle


def _positive(values: np.ndarray) -> np.ndarray:
    """Norms with zero replaced by infinity: the cosine with a zero vector is zero."""
    return np.where(values > 0, values, np.inf)
