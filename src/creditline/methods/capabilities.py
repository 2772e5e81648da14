"""What a method needs and what can be done with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["bilinear", "model", "subset"]
FeatureKind = Literal["gradients", "residuals", "pixels", "encoder"]
ModelUse = Literal["none", "final", "checkpoints"]


@dataclass(frozen=True)
class Capabilities:
    """Declared properties of a method; no other code asks for its class.

    Attributes:
        kind: `"bilinear"` methods multiply query-side and train-side factors, `"model"` methods
            need the model and the training images when a query comes, and `"subset"` methods
            learn from retrained models.
        features: kind of features that a bilinear method is fitted on.
        models: models that the method takes: none, models of the final training step (several
            form an ensemble), or checkpoints of one training run.
        causal: whether a score estimates an effect of training, or only a similarity.
        scale_free: whether the norm of a query's feature leaves its scores unchanged, as in a
            cosine.
        damped: whether the method inverts a kernel that is damped by its `ridge` setting.
        has_noise: whether scores have a split-half noise estimate.
        needs_trajectory: whether queries need the record of their sampling run.
        self_influence: whether the method scores training images for themselves.
        regions: whether a query may be a region of an image.
        baseline: whether evaluations show the method beside every other one.
        searchable: whether the strongest images can be searched without a row of all scores.
        updatable: whether training images can be added to and removed from its index.
        held_out: whether a subset method can predict subsets that it did not learn from.
    """

    kind: Kind
    features: FeatureKind | None = None
    models: ModelUse = "none"
    causal: bool = True
    scale_free: bool = False
    damped: bool = False
    has_noise: bool = False
    needs_trajectory: bool = False
    self_influence: bool = False
    regions: bool = False
    baseline: bool = False
    searchable: bool = False
    updatable: bool = False
    held_out: bool = True
