"""Random projections of gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from creditline.errors import unknown
from creditline.gradients.projection.base import (
    PROJECTIONS,
    Block,
    Projection,
    Projector,
    lay_out,
)

if TYPE_CHECKING:
    from torch import Tensor

    from creditline.gradients.parameters import Layer

__all__ = ["Block", "Projection", "Projector", "build"]


class Identity(Projector):
    """No projection: the feature is the whole gradient."""

    def project_block(self, block: Block, gradient: Tensor) -> Tensor:
        return gradient


def build(settings: Projection, layers: Sequence[Layer]) -> Projector:
    """The projector that `settings` describe, laid out over `layers`.

    Raises:
        SettingsError: if the dimension does not fit the layers.
    """
    from creditline.gradients.projection.count_sketch import CountSketch
    from creditline.gradients.projection.dense import Gaussian, Rademacher
    from creditline.gradients.sides import Sides

    kinds: dict[str, type[Projector]] = {
        "two-sided": CountSketch,
        "count-sketch": CountSketch,
        "gaussian": Gaussian,
        "rademacher": Rademacher,
        "none": Identity,
    }
    if settings.projection not in kinds:
        raise unknown("projection", settings.projection, PROJECTIONS)
    seed, two_sided = settings.projection_seed, settings.projection == "two-sided"
    sides = Sides(layers, settings.rank, seed) if two_sided else None
    return kinds[settings.projection](lay_out(settings, layers, sides), seed, sides)
