"""Split-half noise estimate: how much of a score random noise alone could make.

A feature is a mean over timesteps and noises, so it has an error, and with it every score. Two
halves of an image's noise that share nothing give one sample of that error: `e` of a query, `f` of
a training image. A sample of a score's own error is half the difference between the score with the
error added and with the error subtracted,

    from the query's noise      (s(q + e) - s(q - e)) / 2,              s fitted on Phi
    from the training images'   (s(q; Phi + F) - s(q; Phi - F)) / 2,    s fitted on each half

The method is fitted on each half anew. With the curvature of both halves held fixed, the noise of
features whose dimension exceeds the number of images would seem far larger than it is. The kernel
damps the noise that it was fitted to, and not that of the halves.

One sample says little about one score, but a query has n of them. The standard error is modeled as
the product of two factors. The factor of the query is the root mean square of its samples. The
factor of the image is measured in the same way, with a few dozen training images as queries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from creditline.features.table import CodedTable, FeatureTable, mean_feature

FLAT = 1e-12
"""Spread of values, relative to their size, below which they are equal in float64."""


class HalfNoiseFeatures:
    """FeatureTable of one half of the noise: with their errors added or subtracted.

    The error that all images share is due to the halves' timesteps, not to noise, and is left out.

    Args:
        features: a table with errors.
        errors: the same.
        common: mean of the errors of each model, shape `(C, k)`.
        sign: 1 or -1.
    """

    errors: FeatureTable | None = None

    def __init__(
        self, features: FeatureTable, errors: FeatureTable, common: np.ndarray, sign: int
    ) -> None:
        self.n, self.models, self.dim = features.n, features.models, features.dim
        self.learning_rates = features.learning_rates
        self.common = common
        self.sign = sign
        self._features, self._errors = features, errors

    def of_columns(
        self, select: Callable[[FeatureTable], FeatureTable], columns: slice
    ) -> HalfNoiseFeatures:
        """The same half of some columns.

        Args:
            select: returns these columns of a table.
            columns: their places.
        """
        features, errors = select(self._features), select(self._errors)
        return make_half(features, errors, self.common[:, columns], self.sign)

    def chunks(self, model: int) -> Iterator[tuple[int, np.ndarray]]:
        """The half's features, chunk by chunk."""
        pairs = zip(self._features.chunks(model), self._errors.chunks(model), strict=True)
        for (start, rows), (_, errors) in pairs:
            yield start, rows + self.sign * (errors - self.common[model])


class CodedHalfNoiseFeatures(HalfNoiseFeatures):
    """The same of few-bit codes: inner products need no decoded rows (see `CodedTable`)."""

    def __init__(
        self, features: CodedTable, errors: CodedTable, common: np.ndarray, sign: int
    ) -> None:
        super().__init__(features, errors, common, sign)
        self._coded = features, errors

    def products(self, model: int, queries: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Inner products with queries, chunk by chunk."""
        shift = (queries @ self.common[model])[:, None]
        tables = (table.products(model, queries) for table in self._coded)
        for (start, products), (_, errors) in zip(*tables, strict=True):
            yield start, products + self.sign * (errors - shift)

    def norms(self, model: int) -> np.ndarray:
        """Norms of features with errors, without the noise of their codes."""
        features, errors = (table.norms(model) for table in self._coded)
        common, mixed = self.common[model], []
        chunks = (table.chunks(model) for table in self._coded)
        for (_, rows), (_, noise) in zip(*chunks, strict=True):
            both = np.einsum("nk,nk->n", rows, noise)
            mixed.append(self.sign * (both - rows @ common) - noise @ common)
        squares = features**2 + errors**2 + common @ common + 2 * np.concatenate(mixed)
        return np.sqrt(np.maximum(squares, 0.0))


def halves(
    features: FeatureTable, errors: FeatureTable
) -> tuple[HalfNoiseFeatures, HalfNoiseFeatures]:
    """The feature tables of the two noise halves.

    Args:
        features: features of both halves together.
        errors: a sample of the error of each.
    """
    common = np.stack([mean_feature(errors, c) for c in range(errors.models)])
    first, second = (make_half(features, errors, common, sign) for sign in (1, -1))
    return first, second


def make_half(
    features: FeatureTable, errors: FeatureTable, common: np.ndarray, sign: int
) -> HalfNoiseFeatures:
    """Make the table of one half; arguments as of `HalfNoiseFeatures`."""
    if isinstance(features, CodedTable) and isinstance(errors, CodedTable):
        return CodedHalfNoiseFeatures(features, errors, common, sign)
    return HalfNoiseFeatures(features, errors, common, sign)


@dataclass(frozen=True)
class ScoreNoise:
    """Samples of the error of scores, shape `(m, n)` each.

    Attributes:
        from_query: the effect of the query's noise on each score.
        from_train: the effect of the training images' noise.
        scale: how the variance of the error varies over images, mean 1, shape `(n,)`.
    """

    from_query: np.ndarray
    from_train: np.ndarray
    scale: np.ndarray

    @property
    def sample(self) -> np.ndarray:
        """About half the difference between the scores of the two halves, `(m, n)`."""
        return self.from_query + self.from_train

    @property
    def error(self) -> np.ndarray:
        """Standard error of every score, `(m, n)`."""
        variance = _mean_square(self.from_query) + _mean_square(self.from_train)
        return np.sqrt(variance * self.scale)

    @property
    def train_error(self) -> np.ndarray:
        """Standard error due to the noise of the training images, `(m, n)`."""
        return np.sqrt(_mean_square(self.from_train) * self.scale)

    def reliability(self, scores: np.ndarray) -> np.ndarray:
        """Expected correlation of each query's scores with those of fresh noise, shape `(m,)`.

        See `halves_agree`.
        """
        return halves_agree(scores + self.sample, scores - self.sample)

    def of_query(self, query: int) -> ScoreNoise:
        """The noise of one query's scores, `(1, n)`."""
        part = slice(query, query + 1)
        return ScoreNoise(self.from_query[part], self.from_train[part], self.scale)

    def scaled(self, factors: np.ndarray) -> ScoreNoise:
        """The noise of scores that are multiplied by a factor for each query, `(m, 1)`."""
        return ScoreNoise(self.from_query * factors, self.from_train * factors, self.scale)

    @classmethod
    def stacked(cls, blocks: Sequence[ScoreNoise]) -> ScoreNoise:
        """The noise of all queries of several blocks."""
        return cls(
            np.concatenate([block.from_query for block in blocks]),
            np.concatenate([block.from_train for block in blocks]),
            blocks[0].scale,
        )


def relative_variance(samples: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """How the variance of errors varies over images, mean 1, shape `(n,)`.

    Args:
        samples: errors of training images as queries, shape `(b, n)`.
        rows: positions of those images, whose scores for themselves are left out.
    """
    squares = samples**2
    squares[np.arange(len(rows)), rows] = 0.0
    size = squares.sum(1, keepdims=True)
    if not size.all():
        return np.ones(samples.shape[1])
    others = len(rows) - np.isin(np.arange(samples.shape[1]), rows)
    variance = (squares / size).sum(0) / np.maximum(others, 1)
    return variance / variance.mean()


def halves_agree(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Expected correlation of the mean of two rows with one that shares no noise, shape `(m,)`.

    The correlation between the two, stepped up to their mean (Spearman-Brown). Never below 0; 0
    where all values of a row are equal.

    Args:
        a, b: shape `(m, n)`, row by row from two noise halves that share nothing.
    """
    between = np.maximum(_correlation(a, b), 0.0)
    return 2.0 * between / (1.0 + between)


def _mean_square(samples: np.ndarray) -> np.ndarray:
    """Over the images of each query, `(m, 1)`."""
    return (samples**2).mean(1, keepdims=True)


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's, row by row."""
    # What centering leaves of equal values is rounding.
    floor = FLAT**2 * np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.divide((a * b).sum(1), norms, out=np.zeros(len(a)), where=norms > floor)
