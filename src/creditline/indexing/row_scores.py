"""Scores of some images, under all models together."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np


class RowScores(ABC):
    """Stored rows of training images under several models, from which their scores are computed.

    Attributes:
        models: number of models.
    """

    models: int

    def scores_of(self, factors: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Scores of some images, which are read alone, summed over models.

        Args:
            factors: of queries, shape `(m, C, k)`.
            rows: positions of the images, ascending.

        Returns:
            float64 of shape `(m, b)`.
        """
        scores = np.zeros((len(factors), len(rows)))
        for c in range(self.models):
            scores += self.model_scores_of(c, factors[:, c], rows)
        return scores

    @abstractmethod
    def model_scores_of(self, model: int, factors: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """As `scores_of`, under one model; factors of shape `(m, k)`."""
