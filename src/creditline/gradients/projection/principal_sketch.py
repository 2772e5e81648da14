"""Principal directions of both sides of each weight, fitted to training images, then a sketch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from creditline.gradients.projection.principal import PrincipalDirections, PrincipalProjection
from creditline.gradients.projection.two_sided_sketch import TwoSidedSketch

if TYPE_CHECKING:
    from creditline.gradients.parameters import Layer
    from creditline.gradients.projection.settings import Projection


class PrincipalSketch(TwoSidedSketch):
    """As `TwoSidedSketch`, with the directions in which gradients of images differ most."""

    is_fitted = True
    kind = PrincipalProjection

    @classmethod
    def statistic(cls, settings: Projection, layers: Sequence[Layer]) -> PrincipalDirections:
        return PrincipalDirections(layers, settings.rank)

    @classmethod
    def make_two_sided(
        cls, settings: Projection, layers: Sequence[Layer], directions: Mapping[str, np.ndarray]
    ) -> PrincipalProjection:
        return PrincipalProjection(layers, settings.rank, directions)
