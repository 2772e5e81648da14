"""The one interface of every attribution method.

A method is an estimator: its constructor stores settings, `fit` learns from training features
(learned attributes end in `_`), `attribute` scores queries. A positive score means that training
on the image lowered the query's loss (a proponent), a negative one the contrary (an opponent).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, Protocol, Self

import numpy as np

from creditline.curvature.kernel import MEMORY
from creditline.curvature.ridge import Ridge
from creditline.curvature.spectrum import Spectrum
from creditline.errors import SettingsError
from creditline.features.table import ArrayFeatures, FeatureTable, per_model, take_rows
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.spec import FeatureSpec
from creditline.methods.noise import HalfNoiseFeatures, ScoreNoise, halves, relative_variance
from creditline.methods.shape import ScoreTransform
from creditline.settings import require, setting

SourceKind = Literal["gradients", "pixels", "encoder"]
QUERY_EVALUATIONS = 80
SCALE_QUERIES = 64


class TrainFactors(Protocol):
    """The train sides of all training images, kept somewhere that is quick to read."""

    def scores(self, sides: np.ndarray) -> np.ndarray:
        """Scores `(m, n)` of queries by their weighted sides `(m, C, k)`."""


class Method(ABC):
    """Base of every method.

    Class attributes:
        name: as typed on the command line.
        title: as printed.
        paper: where it comes from.
        formula: the score of query `q` and training image `i`.
        needs: what the user must have.
        cost: of indexing `n` images and of one query.
        causal: whether a score estimates an effect of training, or only a likeness.
        source: what features it is fitted on.
        cosine: whether the length of a query's feature has no part in its scores.

    A score is one inner product of something of the query and something of the training image
    (`query_side`, `train_side`). Where the latter is kept, in `rows_`, a query is a pass over it.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str]
    formula: ClassVar[str]
    needs: ClassVar[str]
    cost: ClassVar[str]
    causal: ClassVar[bool] = True
    source: ClassVar[SourceKind] = "gradients"
    cosine: ClassVar[bool] = False

    features_: FeatureTable
    halves_: tuple[Self, ...]
    error_scale_: np.ndarray
    rows_: TrainFactors | None = None

    def fit(self, train: FeatureTable | np.ndarray) -> Self:
        """Learn from training features.

        Args:
            train: a feature table, or an array of shape `(n, k)` or `(n, C, k)` for `C` models.

        Returns:
            The method itself.
        """
        self.features_ = ArrayFeatures(train) if isinstance(train, np.ndarray) else train
        return self

    def attribute(self, query: np.ndarray) -> np.ndarray:
        """Scores of every training image for every query, averaged over models.

        Args:
            query: query features, shape `(m, k)` or `(m, C, k)`.

        Returns:
            float64 of shape `(m, n)`.

        Raises:
            SettingsError: if the method is not fitted or the shapes do not match.
        """
        query, weights = self._checked(query), self.model_weights()
        if self.rows_ is not None:
            return self.rows_.scores(self.query_sides(query))
        return sum(weights[c] * self.model_scores(c, query[:, c]) for c in range(len(weights)))

    def query_sides(self, query: np.ndarray) -> np.ndarray:
        """Weighted query sides of all models, float64 of shape `(m, C, k)`.

        Their inner products with the train sides, summed over models, are the scores.

        Args:
            query: as `attribute`.

        Raises:
            SettingsError: as `attribute`.
        """
        query, weights = self._checked(query), self.model_weights()
        sides = [weights[c] * self.query_side(c, query[:, c]) for c in range(len(weights))]
        return np.stack(sides, axis=1)

    def fit_halves(self) -> Self:
        """Fit a copy on each half of the training images' noise, which `noise` compares.

        Raises:
            SettingsError: if the training features come without errors, or have no noise.
        """
        self.halves_ = tuple(self.unfitted().fit(half) for half in self.half_features())
        self.error_scale_ = self.error_scale()
        return self

    def half_features(self) -> tuple[HalfNoiseFeatures, HalfNoiseFeatures]:
        """The training features by either half of their noise.

        Raises:
            SettingsError: as `fit_halves`.
        """
        require(
            self.query_plan is not None,
            "Only scores from random noise have an error",
            self.name,
            "Ask for none, or use a gradient method.",
        )
        table = self._fitted()
        if table.errors is None:
            raise SettingsError(
                "The error of a score needs training features with the two halves of their noise; "
                "these have none. Build the index from two or more evaluations of an image "
                "(timesteps x draws), without --no-halves."
            )
        return halves(table, table.errors)

    def noise(self, query: np.ndarray, errors: np.ndarray) -> ScoreNoise:
        """How much noise there is in the scores of queries; see `scored`."""
        return self.scored(query, errors)[1]

    def scored(self, query: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, ScoreNoise]:
        """Scores of queries, as `attribute`, and how much noise there is in them.

        Args:
            query: as `attribute`.
            errors: of the query features, in their shape; see `GradientExtractor.extract`.

        Raises:
            SettingsError: as `fit_halves`.
        """
        if not hasattr(self, "halves_"):
            self.fit_halves()
        query, errors = per_model(query), per_model(errors)
        if self.alternates:
            # What all images' halves differ by is due to their timesteps, not to noise.
            errors = errors - self.halves_[0].features_.common  # type: ignore[attr-defined]
        scores, from_query, from_train = self._noise_samples(query, errors)
        return scores, ScoreNoise(from_query, from_train, self.error_scale_)

    def error_scale(self) -> np.ndarray:
        """How the variance of a score's error varies over images, mean 1, shape `(n,)`.

        Found by scoring some training images as queries, after the halves are fitted.
        """
        table = self._fitted()
        rows = np.unique(np.linspace(0, table.n - 1, SCALE_QUERIES).astype(np.int64))
        models = range(table.models)
        query = np.stack([take_rows(table, c, rows) for c in models], axis=1)
        halves = [half.features_ for half in self.halves_]
        both = [np.stack([take_rows(half, c, rows) for c in models], axis=1) for half in halves]
        _, from_query, from_train = self._noise_samples(query, (both[0] - both[1]) / 2)
        return relative_variance(from_query + from_train, rows)

    def _noise_samples(
        self, query: np.ndarray, errors: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Scores and samples of what the noise of queries and of images does, `(m, n)` each."""
        m, shifted = len(query), np.concatenate([query, query + errors, query - errors])
        scores = self.attribute(shifted)
        first, second = (half.attribute(query) for half in self.halves_)
        return scores[:m], (scores[m : 2 * m] - scores[2 * m :]) / 2, (first - second) / 2

    @property
    def alternates(self) -> bool:
        """Whether the halves of queries and images see different timesteps, in the same turns."""
        return False

    def unfitted(self) -> Self:
        """A copy without what `fit` learned."""
        return replace(self)  # type: ignore[type-var]

    def self_influence(self) -> np.ndarray:
        """Score of every training image for itself, float64 of shape `(n,)`."""
        weights = self.model_weights()
        return sum(weights[c] * self.model_self_scores(c) for c in range(self._fitted().models))

    @property
    def query_plan(self) -> NoisePlan | None:
        """Noise plan of queries; None where features have no noise."""
        return None

    @property
    def keeps_timesteps(self) -> bool:
        """Whether a query is scored at each timestep apart."""
        return False

    def model_weights(self) -> np.ndarray:
        """Weight of each model's scores, shape `(C,)`: an average."""
        models = self._fitted().models
        return np.full(models, 1.0 / models)

    @abstractmethod
    def model_scores(self, model: int, query: np.ndarray) -> np.ndarray:
        """Scores under one model, queries of shape `(m, k)`, result `(m, n)`."""

    @abstractmethod
    def query_side(self, model: int, query: np.ndarray) -> np.ndarray:
        """What of a query meets `train_side`, queries of shape `(m, k)`, result alike."""

    @abstractmethod
    def train_side(
        self, model: int, memory: int = MEMORY, first: int = 0
    ) -> Iterator[tuple[int, np.ndarray]]:
        """What of every training image meets `query_side`, in order: `(start, rows)`, `(b, k)`.

        Scores under one model are the inner products of both sides.

        Args:
            model: which model's features.
            memory: bytes that may be taken.
            first: row from which they are wanted; a few before may be given too.
        """

    @abstractmethod
    def model_self_scores(self, model: int) -> np.ndarray:
        """Self-influence under one model, shape `(n,)`."""

    def _checked(self, query: np.ndarray) -> np.ndarray:
        """Query features as float64 of shape `(m, C, k)`."""
        table, query = self._fitted(), per_model(query).astype(np.float64)
        if query.shape[1:] != (table.models, table.dim):
            raise SettingsError(
                f"Query features have shape {query.shape[1:]} per row; the training features have "
                f"{(table.models, table.dim)}. Extract both with the same settings."
            )
        return query

    def _fitted(self) -> FeatureTable:
        if not hasattr(self, "features_"):
            raise SettingsError(f"{self.title} is not fitted. Call fit(train_features) first.")
        return self.features_


@dataclass
class GradientMethod(Method):
    """Methods on gradients of a model.

    Queries are few and training images many, so a query can afford more noise than the index:
    its own noise is half of what separates an image from its own entry (docs/measurements.md).
    """

    features: FeatureSpec = field(default_factory=FeatureSpec)
    query_draws: int | None = setting(
        None, f"noise draws at each timestep of a query; none: {QUERY_EVALUATIONS} passes or more"
    )
    score_shape: ScoreTransform = field(default_factory=ScoreTransform)

    @property
    def query_plan(self) -> NoisePlan:
        plan = self.features.plan
        if self.query_draws is None:
            # Shared noise is the same on both sides, draw by draw.
            enough = 1 if plan.shared_noise else -(-QUERY_EVALUATIONS // plan.timesteps)
            return replace(plan, draws=max(plan.draws, enough))
        require(self.query_draws >= 1, "query_draws must be at least 1", self.query_draws, "Try 8.")
        return replace(plan, draws=self.query_draws)

    @property
    def alternates(self) -> bool:
        train, query = self.features.plan, self.query_plan
        if (train.schedule, train.timesteps) != (query.schedule, query.timesteps):
            return False
        apart = self.features.normalize == "timestep"
        return apart or (train.draws % 2 == 1 and query.draws % 2 == 1)


@dataclass
class RidgeMethod(GradientMethod):
    """Methods of the form `phi_q^T (Phi^T Phi + lambda I)^-1 phi_i`, possibly rescaled."""

    ridge: Ridge = field(default_factory=Ridge)

    def fit(
        self, train: FeatureTable | np.ndarray, spectra: Sequence[Spectrum] | None = None
    ) -> Self:
        """Learn the kernel's spectrum; `spectra` takes one that was computed before."""
        super().fit(train)
        models = range(self.features_.models)
        self.spectra_ = list(
            spectra or (Spectrum.fit(self.features_, c, self.ridge.center) for c in models)
        )
        self.damping_ = [self.ridge.absolute(s.eigenvalues) for s in self.spectra_]
        self.column_scale_ = [self.column_scale(c) for c in models]
        return self

    def model_scores(self, model: int, query: np.ndarray) -> np.ndarray:
        table, spectrum = self._fitted(), self.spectra_[model]
        scores = spectrum.scores(table, model, query, self.damping_[model])
        return scores * self.column_scale_[model]

    def query_side(self, model: int, query: np.ndarray) -> np.ndarray:
        return query - self.spectra_[model].mean

    def train_side(
        self, model: int, memory: int = MEMORY, first: int = 0
    ) -> Iterator[tuple[int, np.ndarray]]:
        table, spectrum = self._fitted(), self.spectra_[model]
        scale = np.broadcast_to(self.column_scale_[model], table.n)
        for start, rows in spectrum.solved(table, model, self.damping_[model], memory, first):
            yield start, rows * scale[start : start + len(rows), None]

    def model_self_scores(self, model: int) -> np.ndarray:
        leverage = self.spectra_[model].quadratic(self._fitted(), model, self.damping_[model], 1)
        return leverage * self.column_scale_[model]

    def column_scale(self, model: int) -> np.ndarray | float:
        """Factor of each training image, shape `(n,)`, or one for all."""
        return 1.0
