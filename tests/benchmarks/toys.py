"""A method of each kind that no package registers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from creditline.methods.gradient_cosine import GradientCosine
from creditline.methods.model_method import ModelAttributor
from creditline.methods.scores import QueryBatch, Scores
from creditline.methods.subset_method import SubsetAttributor


@dataclass
class ToyBilinear(GradientCosine):
    """The cosine of gradients under another name."""

    name: ClassVar = "toy-bilinear"
    title: ClassVar = "Toy bilinear"


@dataclass
class ToyModel(ModelAttributor):
    """Negative distance of mean pixels; counts the model's parameters to need it."""

    name: ClassVar = "toy-model"
    title: ClassVar = "Toy model"
    paper: ClassVar = "none"
    formula: ClassVar = "none"
    needs: ClassVar = "a model"
    cost: ClassVar = "none"

    def score(self, queries: QueryBatch) -> Scores:
        context = self.context_
        assert sum(p.numel() for m in context.models for p in m.module.parameters()) > 0
        query, train = (
            images.array().reshape(len(images), -1).mean(1)
            for images in (self.query_images(queries), context.images)
        )
        return Scores(-np.abs(query[:, None] - train[None]))


@dataclass
class ToySubset(SubsetAttributor):
    """The mean loss of the subsets without each image."""

    name: ClassVar = "toy-subset"
    title: ClassVar = "Toy subset"
    paper: ClassVar = "none"
    formula: ClassVar = "none"
    needs: ClassVar = "retrained models"
    cost: ClassVar = "none"

    def learn(self, masks: np.ndarray, losses: np.ndarray) -> np.ndarray:
        return losses.T @ ~masks
