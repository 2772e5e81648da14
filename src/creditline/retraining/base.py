"""The one interface of methods that learn from retrained models.

An estimator like every other method: the constructor stores settings, `fit` learns from masks and
losses, `attribute` gives scores in the same sign: positive lowers the loss. The queries are those
of the losses; another query means measuring its loss under every retrained model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np

from creditline.errors import SettingsError
from creditline.retraining.arrays import subset_losses, subset_masks


class RetrainingMethod(ABC):
    """Base of every method.

    Class attributes:
        name: as typed on the command line.
        title: as printed.
        paper: where it comes from.
        formula: the score of query `q` and training image `i`.
        needs: what the user must have.
        cost: beyond the retrainings.
        least: fewest subsets that it can learn from.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str]
    formula: ClassVar[str]
    needs: ClassVar[str]
    cost: ClassVar[str]
    least: ClassVar[int] = 2

    scores_: np.ndarray

    def fit(self, masks: Any, losses: Any) -> Self:
        """Learn from retrained models.

        Args:
            masks: shape `(M, n)`, true where the image was in the subset.
            losses: shape `(M, m)` or `(M, S, m)`; seeds are averaged.

        Returns:
            The method itself.

        Raises:
            DataError: if the arrays do not fit together, or cannot tell what the method asks.
        """
        losses = subset_losses(losses, np.shape(masks)[0] if np.ndim(masks) else None, least=2)
        self.scores_ = self.learn(subset_masks(masks, least=self.least), losses.mean(1))
        return self

    def attribute(self) -> np.ndarray:
        """Scores of every training image for every query of the losses, float64 `(m, n)`.

        Raises:
            SettingsError: if the method is not fitted.
        """
        if not hasattr(self, "scores_"):
            raise SettingsError(f"{self.title} is not fitted. Call fit(masks, losses) first.")
        return self.scores_

    @abstractmethod
    def learn(self, masks: np.ndarray, losses: np.ndarray) -> np.ndarray:
        """Scores `(m, n)` from checked masks `(M, n)` and mean losses `(M, m)`."""
