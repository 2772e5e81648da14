"""A subset method: it learns from retrained models."""

from dataclasses import dataclass
from typing import ClassVar

from creditline.methods import SubsetAttributor


@dataclass
class MaskCovariance(SubsetAttributor):
    """Covariance over subsets of an image's presence and the negative loss."""

    name: ClassVar = "mask-covariance"
    title: ClassVar = "Mask covariance"
    paper: ClassVar = "an example of a subset method"
    formula: ClassVar = "−cov(1[i ∈ S], L_q(S))"
    needs: ClassVar = "models retrained on subsets"
    cost: ClassVar = "one matrix product"

    def learn(self, masks, losses):
        return -(losses - losses.mean(0)).T @ (masks - masks.mean(0)) / len(masks)
