"""Bilinear methods without curvature: an inner product of features, or its cosine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from creditline.curvature.kernel import MEMORY
from creditline.curvature.variation import positive_lengths, require_variation
from creditline.features.table import centered_chunks, feature_norms, inner_products, mean_feature
from creditline.methods.bilinear import BilinearAttributor
from creditline.methods.feature_form import FeatureForm
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
            norms = [feature_norms(table, c, self.means_[c]) for c in models]
            for mean, lengths in zip(self.means_, norms, strict=True):
                if mean is not None:
                    require_variation(float(lengths @ lengths), table.n * float(mean @ mean))
            self.norms_ = list(map(positive_lengths, norms, self.means_))

    def model_scores(self, model: int, query: np.ndarray) -> np.ndarray:
        factors = self._centered(model, query)
        scores = inner_products(self.features_, model, factors, self.means_[model])
        if self.capabilities.scale_free:
            scores /= self._lengths(model, factors)
            scores /= self.norms_[model]
        return scores

    def query_factors(self, model: int, query: np.ndarray) -> np.ndarray:
        factors = self._centered(model, query)
        if not self.capabilities.scale_free:
            return factors
        return factors / self._lengths(model, factors)

    def train_factors(
        self, model: int, memory: int = MEMORY, first: int = 0
    ) -> Iterator[tuple[int, np.ndarray]]:
        for start, rows in centered_chunks(self.features_, model, self.means_[model]):
            if start + len(rows) > first:
                part = slice(start, start + len(rows))
                scale_free = self.capabilities.scale_free
                yield start, rows / (self.norms_[model][part, None] if scale_free else 1.0)

    def feature_form(self, model: int, factors: np.ndarray) -> FeatureForm:
        scale = 1.0 / self.norms_[model] if self.capabilities.scale_free else 1.0
        return FeatureForm(factors, self.means_[model], scale)

    def model_self_scores(self, model: int) -> np.ndarray:
        table = self.features_
        if self.capabilities.scale_free:
            return np.ones(table.n)
        return feature_norms(table, model, self.means_[model]) ** 2

    def _centered(self, model: int, query: np.ndarray) -> np.ndarray:
        middle = self.means_[model]
        return query if middle is None else query - middle

    def _lengths(self, model: int, factors: np.ndarray) -> np.ndarray:
        """Lengths of queries, `(m, 1)`; the cosine with a zero vector is zero."""
        return positive_lengths(np.linalg.norm(factors, axis=1), self.means_[model])[:, None]
