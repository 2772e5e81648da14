"""Raw pixels as features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from creditline.data.image_set import ImageSet
from creditline.gradients.engine import Reduction
from creditline.gradients.plan import Role
from creditline.gradients.probe import Trajectory
from creditline.settings import require


class PixelSource:
    """Pixels in [-1, 1], flattened.

    Args:
        shape: `(C, H, W)` of every image.

    Attributes:
        dim: `C * H * W`.
        models: always 1.
    """

    models = 1
    halves = False
    parts: Reduction = "whole"

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self.dim = int(np.prod(shape))

    def check(self, images: ImageSet) -> None:
        """Raise if the images have another shape than those indexed."""
        images.require_whole("Likeness of pixels")
        require(
            images.shape == self.shape,
            f"Pixel similarity needs images of shape {self.shape}",
            images.shape,
            "Prepare both sides with the same size and crop.",
        )

    def extract(
        self,
        images: ImageSet,
        indices: Sequence[int],
        role: Role = "train",
        trajectories: Sequence[Trajectory | None] | None = None,
        parts: Reduction = "whole",
    ) -> np.ndarray:
        """Features of shape `(b, 1, 1, k)`, float32."""
        return images.pixels(indices).numpy().reshape(len(indices), 1, 1, self.dim)
