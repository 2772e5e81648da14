"""Subset methods: they learn from models that were retrained on subsets of the training images.

The queries are those whose losses were measured under every retrained model; a query image is
recognized by the content hash of its pixels.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Self

import numpy as np

from creditline.errors import DataError, SettingsError
from creditline.methods.attributor import Attributor
from creditline.methods.capabilities import Capabilities
from creditline.methods.fit_context import FitContext
from creditline.methods.scores import QueryBatch, Scores
from creditline.methods.subset_losses import subset_losses, subset_masks


class SubsetAttributor(Attributor):
    """Base of every subset method; a subclass says how scores are learned, in `learn`.

    Class attributes:
        least: fewest subsets that the method can learn from.

    Attributes:
        scores_: score of every training image for every query of the losses, float64 `(m, n)`.
    """

    capabilities: ClassVar = Capabilities(kind="subset")
    least: ClassVar[int] = 2

    scores_: np.ndarray

    @abstractmethod
    def learn(self, masks: np.ndarray, losses: np.ndarray) -> np.ndarray:
        """Scores `(m, n)` from masks `(M, n)` and losses `(M, m)`, averaged over seeds."""

    def fit(self, context: FitContext) -> Self:
        """Learn from retrained models.

        Raises:
            SettingsError: if the context has no losses of retrained models.
            DataError: if masks and losses do not fit together, or do not determine the scores.
        """
        subsets = context.subsets
        if subsets is None:
            raise SettingsError(
                f"{self.title} learns from retrained models and the context has no losses of any. "
                "Give FitContext(subsets=SubsetLosses(masks, losses))."
            )
        count = np.shape(subsets.masks)[0] if np.ndim(subsets.masks) else None
        losses = subset_losses(subsets.losses, count, least=2)
        masks = subset_masks(subsets.masks, least=self.least)
        mean = losses.mean(1)
        self.scores_ = context.cache.array("scores", self, lambda: self.learn(masks, mean))
        self.context_ = context
        return self

    def score(self, queries: QueryBatch) -> Scores:
        """Scores of queries whose losses were measured.

        Raises:
            SettingsError: if the method is not fitted, or queries come without images.
            DataError: if a query is not one of those of the losses.
        """
        subsets = self._require_fitted().subsets
        if queries.images is None or subsets is None:
            raise SettingsError(
                f"{self.title} recognizes query images by their pixels, and these queries have "
                "none. Give QueryBatch(images=...)."
            )
        rows = {key: row for row, key in enumerate(subsets.query_ids)}
        for key, name in zip(queries.images.ids, queries.images.names, strict=True):
            if key not in rows:
                raise DataError(
                    f"{self.title} knows only the {len(rows)} query images whose losses were "
                    f"measured under the retrained models; {name} is none of them. Trace one of "
                    "those, or use a method that scores new images, such as d-trak."
                )
        return Scores(self.scores_[[rows[key] for key in queries.images.ids]])
