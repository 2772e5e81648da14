"""From blocks of queries to their scores, noise and transformed scores.

The feature of a region is the gradient of an objective whose weights are 1 on average, so that it
can be centered and compared like that of a complete image. Its scores are multiplied by the
region's share of the image. The scores of regions that split an image between them then add up to
the image's own, wherever objective and method are linear. A cosine does not depend on the norm of
a feature, so its scores are left as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from creditline.errors import NumericsError
from creditline.indexing.queries import QueryBlock
from creditline.methods.attributor import Attributor
from creditline.methods.score_noise import ScoreNoise
from creditline.methods.scores import QueryBatch


def require_finite(scores: np.ndarray) -> np.ndarray:
    """Return scores that are all finite.

    Raises:
        NumericsError: if one is not.
    """
    bad = int(np.count_nonzero(~np.isfinite(scores)))
    if bad:
        raise NumericsError(
            f"{bad:,} of {scores.size:,} scores are not finite, so there is no ranking. Rebuild "
            "the index, or choose a larger damping or a smaller exponent; `creditline doctor` "
            "examines the model."
        )
    return scores


@dataclass(frozen=True)
class QueryScoring:
    """How blocks of queries are scored.

    Attributes:
        method: fitted.
    """

    method: Attributor

    def plain(self, block: QueryBlock) -> np.ndarray:
        """Scores of shape `(b, units, n)`; units are timesteps, where these are kept."""
        batch = replace(self._batch(block), errors=None)
        return require_finite(self.method.score(batch).units * self._lengths(block)[:, None, None])

    def with_noise(self, block: QueryBlock) -> tuple[np.ndarray, ScoreNoise | None]:
        """Scores as `plain`, and their noise, where the method estimates it."""
        scores, lengths = self.method.score(self._batch(block)), self._lengths(block)
        noise = None if scores.noise is None else scores.noise.scaled(lengths[:, None])
        return require_finite(scores.units * lengths[:, None, None]), noise

    def transformed(self, block: QueryBlock) -> np.ndarray:
        """Scores after the method's transform, `(b, units, n)`."""
        transform = self.method.score_transform
        if not transform.needs_error:
            return require_finite(transform.apply(self.plain(block)))
        scores, noise = self.with_noise(block)
        error = None if noise is None else noise.error[:, None]
        return require_finite(transform.apply(scores, error))

    def factors(self, block: QueryBlock, factors_of: Callable[[Any], np.ndarray]) -> np.ndarray:
        """Query-side factors, shape `(b, C, k)`, of a searchable method.

        Args:
            block: some queries.
            factors_of: makes factors of the features of queries.
        """
        factors = factors_of(self._batch(block).features)
        return factors * self._lengths(block)[:, None, None]

    def _batch(self, block: QueryBlock) -> QueryBatch:
        values = block.values
        if values is not None and not self.method.keeps_timesteps:
            values = values[:, 0]
        return QueryBatch(block.images, values, block.errors)

    def _lengths(self, block: QueryBlock) -> np.ndarray:
        scale_free = self.method.capabilities.scale_free
        return np.ones(len(block.shares)) if scale_free else block.shares
