"""Projections of gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from creditline.errors import unknown
from creditline.gradients.projection.base import (
    PROJECTIONS,
    Block,
    Projection,
    Projector,
    dimension,
    lay_out,
)
from creditline.settings import require

if TYPE_CHECKING:
    from torch import Tensor

    from creditline.gradients.parameters import Layer
    from creditline.gradients.projection.state import ProjectionState

__all__ = ["Block", "Projection", "Projector", "build", "dimension"]


class Identity(Projector):
    """No projection: the feature is the whole gradient."""

    def project_block(self, block: Block, pieces: Sequence[Tensor]) -> Tensor:
        import torch

        return torch.cat(list(pieces), dim=1)


def build(
    settings: Projection, layers: Sequence[Layer], learnt: ProjectionState | None = None
) -> Projector:
    """The projector that `settings` describe, laid out over `layers`.

    Args:
        settings: of the projection.
        layers: of the gradient.
        learnt: what it depends on of the training images, for one that learns.

    Raises:
        SettingsError: if the dimension does not fit the layers, or nothing was learnt.
    """
    from creditline.gradients.projection.count_sketch import CountSketch
    from creditline.gradients.projection.dense import Gaussian, Rademacher
    from creditline.gradients.projection.two_sided import PrincipalProjection, TwoSidedProjection

    kinds: dict[str, type[Projector]] = {
        "two-sided": CountSketch,
        "principal": CountSketch,
        "count-sketch": CountSketch,
        "gaussian": Gaussian,
        "rademacher": Rademacher,
        "none": Identity,
    }
    if settings.projection not in kinds:
        raise unknown("projection", settings.projection, PROJECTIONS)
    require(
        learnt is not None or not settings.learns,
        "This projection depends on the training images, from which nothing was learnt",
        settings.projection,
        "Learn from them first (GradientExtractor.learn).",
    )
    blocks = lay_out(settings, layers, None if learnt is None else learnt.variances)
    seed = settings.projection_seed
    sides: TwoSidedProjection | None = None
    if settings.projection == "principal" and learnt is not None:
        sides = PrincipalProjection(layers, settings.rank, learnt.directions)
    elif settings.sided:
        sides = TwoSidedProjection(layers, settings.rank, seed)
    return kinds[settings.projection](blocks, seed, sides)
