"""Bilinear methods: a score is an inner product of query-side and train-side factors.

The train-side factors depend on the training images alone, so they can be stored, and a query is
then one pass over them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np

from creditline.curvature.kernel import MEMORY
from creditline.errors import SettingsError
from creditline.features.table import CodedTable, FeatureTable, per_model, take_rows
from creditline.methods.attributor import Attributor
from creditline.methods.feature_form import FeatureForm
from creditline.methods.fit_context import FitContext
from creditline.methods.score_noise import ScoreNoise, relative_variance
from creditline.methods.scores import QueryBatch, Scores
from creditline.settings import require

SCALE_QUERIES = 64


class BilinearAttributor(Attributor):
    """Base of every bilinear method.

    A subclass says what the two factors are: `query_factors` and `train_factors`. What it learns
    from features first, it learns in `learn`. The other methods of this class follow from the two
    factors; a subclass replaces them where there is a cheaper way to the same numbers.
    """

    features_: FeatureTable
    halves_: tuple[Self, ...]
    error_scale_: np.ndarray

    @abstractmethod
    def query_factors(self, model: int, query: np.ndarray) -> np.ndarray:
        """Query-side factors under one model.

        Args:
            model: which model's features.
            query: features of queries, float64 of shape `(m, k)`.

        Returns:
            float64 of shape `(m, k)`.
        """

    @abstractmethod
    def train_factors(
        self, model: int, memory: int = MEMORY, first: int = 0
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Train-side factors under one model, in order.

        Scores under the model are the inner products of the two factors.

        Args:
            model: which model's features.
            memory: bytes that may be taken.
            first: row from which they are wanted; a few rows before may be given too.

        Yields:
            `(start, rows)`, float64 of shape `(b, k)`.
        """

    def feature_terms(self) -> Mapping[str, BilinearAttributor]:
        """The methods whose feature settings make up each named feature set; by default its own.

        The features of an image are those of all sets side by side; see `FitContext.of_set`.
        """
        return {"features": self}

    def index_settings(self) -> dict[str, Any]:
        terms = self.feature_terms()
        if len(terms) == 1:
            return super().index_settings()
        sets = {name: term.index_settings() for name, term in terms.items()}
        return {**super().index_settings(), "feature sets": sets}

    def fit(self, context: FitContext) -> Self:
        """Learn from features of the training images.

        Raises:
            SettingsError: if the context has no features.
        """
        self.features_ = context.table()
        self.context_ = context
        self.learn(context)
        return self

    def learn(self, context: FitContext) -> None:
        """Learn what the factors depend on, if anything."""

    def score(self, queries: QueryBatch) -> Scores:
        """Score every training image for every query.

        Scores have a noise estimate where the queries and the training images have errors.

        Raises:
            SettingsError: if the method is not fitted, or the features have another shape than
                those of the training images.
        """
        self._require_fitted()
        if queries.features is None:
            raise SettingsError(
                f"{self.title} scores features of queries, and these have none. Give "
                "QueryBatch(features=...), or queries to an index."
            )
        if queries.features.ndim == 4:
            m, units, *shape = queries.features.shape
            flat = self.attribute(queries.features.reshape(-1, *shape))
            blocks = flat.reshape(m, units, -1)
            return Scores(blocks.mean(1), blocks=blocks)
        if queries.errors is None or self.features_.errors is None:
            return Scores(self.attribute(queries.features))
        return Scores(*self.scores_with_noise(queries.features, queries.errors))

    def attribute(self, query: np.ndarray, stored: bool = True) -> np.ndarray:
        """Scores of every training image for every query, averaged over models.

        Args:
            query: query features, shape `(m, k)` or `(m, C, k)`.
            stored: use stored train-side factors, where the context has them.

        Returns:
            float64 of shape `(m, n)`.

        Raises:
            SettingsError: if the method is not fitted or the shapes do not match.
        """
        query, weights = self._checked(query), self.model_weights()
        context = self._require_fitted()
        if stored and context.stored_factors and self.stores_factors:
            factors = context.cache.factors(self)
            if factors is not None:
                return factors.scores(self.weighted_query_factors(query))
        return sum(weights[c] * self.model_scores(c, query[:, c]) for c in range(len(weights)))

    def weighted_query_factors(self, query: np.ndarray) -> np.ndarray:
        """Query-side factors of all models, times the models' weights.

        Their inner products with the train-side factors, summed over models, are the scores.

        Args:
            query: as in `attribute`.

        Returns:
            float64 of shape `(m, C, k)`.

        Raises:
            SettingsError: as in `attribute`.
        """
        query, weights = self._checked(query), self.model_weights()
        factors = [weights[c] * self.query_factors(c, query[:, c]) for c in range(len(weights))]
        return np.stack(factors, axis=1)

    def feature_form(self, model: int, factors: np.ndarray) -> FeatureForm:
        """Scores of queries under one model as inner products with features.

        Args:
            model: which model's features.
            factors: query-side factors, shape `(m, k)`.

        Raises:
            SettingsError: if they are not of that form, by default.
        """
        raise SettingsError(
            f"Scores of {self.title} are not inner products with single features here, and few-bit "
            "features are searched approximately in that form alone. Search exactly (without "
            "--approximate)."
        )

    def search_terms(self) -> Sequence[BilinearAttributor]:
        """The fitted methods that are searched one by one, where scores are a sum of theirs."""
        return ()

    def model_scores(self, model: int, query: np.ndarray) -> np.ndarray:
        """Scores under one model, queries of shape `(m, k)`, result `(m, n)`."""
        factors = self.query_factors(model, query)
        result = np.empty((len(factors), self.features_.n))
        for start, rows in self.train_factors(model):
            result[:, start : start + len(rows)] = factors @ rows.T
        return result

    def model_self_scores(self, model: int) -> np.ndarray:
        """Self-influence under one model, shape `(n,)`."""
        result = np.empty(self.features_.n)
        everything = np.arange(self.features_.n)
        for start, rows in self.train_factors(model):
            part = everything[start : start + len(rows)]
            query = self.query_factors(model, take_rows(self.features_, model, part))
            result[part] = (query * rows).sum(1)
        return result

    def model_weights(self) -> np.ndarray:
        """Weight of each model's scores, shape `(C,)`: an average."""
        self._require_fitted()
        models = self.features_.models
        return np.full(models, 1.0 / models)

    def self_influence(self) -> np.ndarray:
        """Score of every training image for itself, float64 of shape `(n,)`."""
        weights = self.model_weights()
        return sum(weights[c] * self.model_self_scores(c) for c in range(len(weights)))

    @property
    def stores_factors(self) -> bool:
        """Whether stored train-side factors are quicker to read than the features; not of codes."""
        return not isinstance(self.features_, CodedTable)

    @property
    def alternates(self) -> bool:
        """Whether the noise halves of queries and training images see different timesteps."""
        return False

    # Split-half noise estimate

    def fit_halves(self) -> Self:
        """Fit a copy on each half of the training images' noise, which `noise` compares.

        Raises:
            SettingsError: if the training features come without errors, or have no noise.
        """
        context = self._require_fitted()
        require(
            self.capabilities.has_noise,
            "Only scores from random noise have an error",
            self.name,
            "Ask for none, or use a gradient method.",
        )
        first, second = context.of_halves()
        self.halves_ = self.unfitted().fit(first), self.unfitted().fit(second)
        self.error_scale_ = context.cache.array("error-scale", self, self.error_scale)
        return self

    def noise(self, query: np.ndarray, errors: np.ndarray) -> ScoreNoise:
        """Noise in the scores of queries; see `scores_with_noise`."""
        return self.scores_with_noise(query, errors)[1]

    def scores_with_noise(
        self, query: np.ndarray, errors: np.ndarray
    ) -> tuple[np.ndarray, ScoreNoise]:
        """Scores of queries, as `attribute`, and the noise in them.

        Args:
            query: as in `attribute`.
            errors: a sample of the error of each query feature, in their shape.

        Raises:
            SettingsError: as in `fit_halves`.
        """
        if not hasattr(self, "halves_"):
            self.fit_halves()
        query, errors = per_model(query), per_model(errors)
        if self.alternates:
            # The error that all images share is due to their timesteps, not to noise.
            errors = errors - self.halves_[0].features_.common  # type: ignore[attr-defined]
        scores, from_query, from_train = self._noise_samples(query, errors)
        return scores, ScoreNoise(from_query, from_train, self.error_scale_)

    def error_scale(self) -> np.ndarray:
        """How the variance of a score's error varies over images, mean 1, shape `(n,)`.

        It is measured by scoring some training images as queries, after the halves are fitted.
        """
        table = self.features_
        rows = np.unique(np.linspace(0, table.n - 1, SCALE_QUERIES).astype(np.int64))
        models = range(table.models)
        query = np.stack([take_rows(table, c, rows) for c in models], axis=1)
        halves = [half.features_ for half in self.halves_]
        both = [np.stack([take_rows(half, c, rows) for c in models], axis=1) for half in halves]
        errors = (both[0] - both[1]) / 2
        _, from_query, from_train = self._noise_samples(query, errors, stored=False)
        return relative_variance(from_query + from_train, rows)

    def _noise_samples(
        self, query: np.ndarray, errors: np.ndarray, stored: bool = True
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Scores, and samples of what the noise of queries and of images does, `(m, n)` each."""
        m, shifted = len(query), np.concatenate([query, query + errors, query - errors])
        scores = self.attribute(shifted, stored)
        first, second = (half.attribute(query, stored) for half in self.halves_)
        return scores[:m], (scores[m : 2 * m] - scores[2 * m :]) / 2, (first - second) / 2

    def _checked(self, query: np.ndarray) -> np.ndarray:
        """Query features as float64 of shape `(m, C, k)`."""
        self._require_fitted()
        table, query = self.features_, per_model(query).astype(np.float64)
        if query.shape[1:] != (table.models, table.dim):
            raise SettingsError(
                f"Query features have shape {query.shape[1:]} per row; the training features have "
                f"{(table.models, table.dim)}. Extract both with the same settings."
            )
        return query
