"""Empirical influence: Feldman and Zhang, "What Neural Networks Memorize and Why" (NeurIPS 2020).

    score(q, i) = mean loss of the models trained without i - mean loss of those trained with i

The two means are not fitted to a model of the losses; each is as noisy as half of the subsets
leave it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from creditline.errors import DataError
from creditline.methods.subset_method import SubsetAttributor


@dataclass
class EmpiricalInfluence(SubsetAttributor):
    """Difference of mean losses without and with each image."""

    name: ClassVar = "empirical-influence"
    title: ClassVar = "Empirical influence"
    paper: ClassVar = "Feldman and Zhang, NeurIPS 2020"
    formula: ClassVar = "mean loss without i − mean loss with i"
    needs: ClassVar = "retrained subsets in which every image is both in and out"
    cost: ClassVar = "one matrix product"

    def learn(self, masks: np.ndarray, losses: np.ndarray) -> np.ndarray:
        inside = masks.sum(0)
        outside = len(masks) - inside
        one_sided = (inside == 0) | (outside == 0)
        if one_sided.any():
            raise DataError(
                f"{int(one_sided.sum())} of {len(one_sided)} training images, first number "
                f"{int(np.argmax(one_sided))}, are in none or in all of the {len(masks)} subsets, "
                "so their influence is not known. Retrain on more subsets."
            )
        # Centered first: a loss that all models share would only cost digits.
        losses = losses - losses.mean(0)
        return losses.T @ (~masks / outside - masks / inside)
