"""Noise floor: how much of a score the random noise of its features alone could make.

A feature is a mean over timesteps and noises, so it has an error, and with it every score. The two
halves of an image's noise give one sample of that error (`GradientSource.extract`): `e` of a
query, `f` of a training image. With the curvature `M` held, a score is bilinear, and

    (phi_q + e)^T M (phi_i + f)  =  score + e^T M phi_i + phi_q^T M f + e^T M f

is the score of the first halves, with minus signs that of the second. Their half difference, the
two middle terms, is a sample of the score's own error. One sample says little about one score, but
a query has n of them. Over images the variance of the first term follows `phi_i^T M phi_i`, that of
the second `|f_i|^2`; the two factors are estimated for each query from all n samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class ScoreNoise:
    """Samples of the error of scores, shape `(m, n)` each, and how it varies over images.

    Attributes:
        from_query: what the query's noise does to each score.
        from_train: what the training image's noise does.
        query_scale, train_scale: variance of either, up to a factor for each query, shape `(n,)`.
    """

    from_query: np.ndarray
    from_train: np.ndarray
    query_scale: np.ndarray
    train_scale: np.ndarray

    @property
    def sample(self) -> np.ndarray:
        """Half the difference between the scores of the two halves, `(m, n)`."""
        return self.from_query + self.from_train

    @property
    def error(self) -> np.ndarray:
        """Standard error of every score, `(m, n)`."""
        variance = _spread(self.from_query, self.query_scale)
        return np.sqrt(variance + self.train_error**2)

    @property
    def train_error(self) -> np.ndarray:
        """The part of it that is the training image's own, `(m, n)`."""
        return np.sqrt(_spread(self.from_train, self.train_scale))

    def reliability(self, scores: np.ndarray) -> np.ndarray:
        """Expected correlation of each query's scores with those of fresh noise, shape `(m,)`.

        The correlation between the halves, stepped up to their mean (Spearman-Brown). Never below
        0; 0 where all scores are equal.
        """
        between = _correlation(scores + self.sample, scores - self.sample)
        between = np.maximum(between, 0.0)
        return 2.0 * between / (1.0 + between)

    def of(self, query: int) -> ScoreNoise:
        """Of one query, `(1, n)`."""
        part = slice(query, query + 1)
        return replace(self, from_query=self.from_query[part], from_train=self.from_train[part])

    @classmethod
    def stacked(cls, blocks: Sequence[ScoreNoise]) -> ScoreNoise:
        """Of all queries of several blocks."""
        return replace(
            blocks[0],
            from_query=np.concatenate([block.from_query for block in blocks]),
            from_train=np.concatenate([block.from_train for block in blocks]),
        )

    @classmethod
    def mean(cls, parts: Sequence[ScoreNoise], weights: np.ndarray) -> ScoreNoise:
        """Of a weighted sum over models, which see the same noise."""

        def total(name: str) -> np.ndarray:
            return sum(w * getattr(part, name) for w, part in zip(weights, parts, strict=True))

        return cls(
            total("from_query"),
            total("from_train"),
            # Scales have no unit; each model's counts by its share.
            np.sum([_relative(part.query_scale) for part in parts], axis=0),
            np.sum([_relative(part.train_scale) for part in parts], axis=0),
        )


def _spread(samples: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Variances proportional to `scale` with the samples' mean square, `(m, n)`."""
    return (samples**2).mean(1, keepdims=True) * _relative(scale)


def _relative(scale: np.ndarray) -> np.ndarray:
    mean = scale.mean()
    return scale / mean if mean > 0 else np.ones_like(scale)


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's, row by row."""
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.divide((a * b).sum(1), norms, out=np.zeros(len(a)), where=norms > 0)
