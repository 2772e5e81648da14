"""Sums of bilinear methods whose scores have no common scale: each in units of its own spread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from creditline.curvature.kernel import MEMORY
from creditline.curvature.variation import ROUNDING
from creditline.methods.bilinear import BilinearAttributor
from creditline.methods.fit_context import FitContext
from creditline.methods.method_sum import MethodSum

SPREAD_IMAGES = 256
"""Training images from which the spread of another one's scores is estimated."""


class SpreadSum(MethodSum):
    """Base of sums in which each method's scores are divided by their spread.

    The spread is the standard deviation of a query's scores over all training images, under each
    model. A method whose scores are equal but for rounding adds nothing.
    """

    def learn(self, context: FitContext) -> None:
        super().learn(context)
        self._sizes: dict[int, list[float]] = {}

    def attribute(self, query: np.ndarray, stored: bool = True) -> np.ndarray:
        query = self._checked(query)
        if self.features_.models > 1 or not stored:
            return super().attribute(query, stored=False)
        # Under one model each term can use its own stored factors.
        total = np.zeros((len(query), self.features_.n))
        for weight, term, own in self._term_queries(query):
            scores = term.attribute(own)
            total += weight * scores / spread(scores)
        return total

    def model_scores(self, model: int, query: np.ndarray) -> np.ndarray:
        total = np.zeros((len(query), self.features_.n))
        for weight, term, own in self._term_queries(query):
            scores = term.model_scores(model, own)
            total += weight * scores / spread(scores)
        return total

    def query_factors(self, model: int, query: np.ndarray) -> np.ndarray:
        factors = [
            weight * term.query_factors(model, own) / spread(term.model_scores(model, own)) * size
            for (weight, term, own), size in zip(
                self._term_queries(query), self._factor_sizes(model), strict=True
            )
        ]
        return np.concatenate(factors, axis=1)

    def search_terms(self) -> Sequence[BilinearAttributor]:
        return self.terms_

    def search_factors(
        self, query: np.ndarray, spread_of: Callable[[int, int, np.ndarray], np.ndarray]
    ) -> np.ndarray:
        """Query-side factors of all terms side by side, for terms that are searched one by one.

        Args:
            query: as in `attribute`.
            spread_of: spread of a term's scores, shape `(m, 1)`, from the number of the term, that
                of the model, and query-side factors of the term, shape `(m, k)`.

        Returns:
            float64 of shape `(m, C, k)`; inner products with the terms' train-side factors, summed
            over models, are the scores.
        """
        query, weights = self._checked(query), self.model_weights()
        models = []
        for c, model_weight in enumerate(weights):
            parts = []
            for i, (weight, term, own) in enumerate(self._term_queries(query[:, c])):
                factors = term.query_factors(c, own)
                parts.append(model_weight * weight * factors / spread_of(i, c, factors))
            models.append(np.concatenate(parts, axis=1))
        return np.stack(models, axis=1)

    def train_factors(
        self, model: int, memory: int = MEMORY, first: int = 0
    ) -> Iterator[tuple[int, np.ndarray]]:
        sizes = [
            np.full(term.features_.dim, size)
            for term, size in zip(self.terms_, self._factor_sizes(model), strict=True)
        ]
        for start, rows in super().train_factors(model, memory, first):
            yield start, rows / np.concatenate(sizes)

    def model_self_scores(self, model: int) -> np.ndarray:
        total = np.zeros(self.features_.n)
        for weight, term in zip(self.weights_, self.terms_, strict=True):
            total += weight * term.model_self_scores(model) / self._own_spreads(term, model)
        return total

    def _own_spreads(self, term: BilinearAttributor, model: int) -> np.ndarray:
        """Spread of each training image's scores as a query, over some images, shape `(n,)`."""
        n = self.features_.n
        rows = np.unique(np.linspace(0, n - 1, SPREAD_IMAGES).astype(np.int64))
        some = np.concatenate(
            [
                factors[rows[(rows >= start) & (rows < start + len(factors))] - start]
                for start, factors in term.train_factors(model)
            ]
        )
        spreads = np.empty(n)
        for start, features in term.features_.chunks(model):
            scores = term.query_factors(model, features) @ some.T
            spreads[start : start + len(features)] = spread(scores)[:, 0]
        return spreads

    def _factor_sizes(self, model: int) -> list[float]:
        """Size of each term's train-side factors, by which they are divided; computed once.

        Side by side in one vector of single precision, small ones would be lost beside large ones.
        """
        if model not in self._sizes:
            rows = (next(term.train_factors(model))[1] for term in self.terms_)
            self._sizes[model] = [float(np.sqrt((some**2).mean())) or 1.0 for some in rows]
        return self._sizes[model]

    def _term_queries(
        self, query: np.ndarray
    ) -> Iterator[tuple[float, BilinearAttributor, np.ndarray]]:
        """Yield weight and method of each term, and its own query features."""
        start = 0
        for weight, term in zip(self.weights_, self.terms_, strict=True):
            stop = start + term.features_.dim
            yield weight, term, query[..., start:stop]
            start = stop


def spread(scores: np.ndarray) -> np.ndarray:
    """Standard deviation of each row, shape `(m, 1)`; infinite where it is only rounding."""
    size, floor = scores.std(axis=1, keepdims=True), ROUNDING * np.abs(scores).max(axis=1)
    return np.where(size > floor[:, None], size, np.inf)
