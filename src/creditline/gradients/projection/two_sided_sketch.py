"""The default projection: random directions of both sides of each weight, then a count sketch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from creditline.gradients.projection.count_sketch import CountSketch
from creditline.gradients.projection.registry import RANKED
from creditline.gradients.projection.two_sided import TwoSidedProjection, kept_sizes

if TYPE_CHECKING:
    from creditline.gradients.parameters import Layer
    from creditline.gradients.projection.settings import Projection


class TwoSidedSketch(CountSketch):
    """A two-sided projection in the engine, which spares weight gradients, then a sketch."""

    settings = RANKED
    kind: ClassVar[type[TwoSidedProjection]] = TwoSidedProjection

    @classmethod
    def input_sizes(cls, settings: Projection, layers: Sequence[Layer]) -> list[int]:
        return kept_sizes(layers, cls.kind.weight_shapes(layers, settings.rank))

    @classmethod
    def make_two_sided(
        cls, settings: Projection, layers: Sequence[Layer], directions: Mapping[str, np.ndarray]
    ) -> TwoSidedProjection:
        return TwoSidedProjection(layers, settings.rank, settings.projection_seed)
