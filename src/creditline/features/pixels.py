"""Raw pixels as features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from creditline.data.image_set import ImageSet
from creditline.features.extractor import FeatureExtractor
from creditline.gradients.noise_plan import Reduction, Role
from creditline.settings import require

if TYPE_CHECKING:
    from creditline.gradients.noised_batch import Trajectory


class PixelExtractor(FeatureExtractor):
    """Pixels in [-1, 1], flattened.

    Args:
        shape: `(C, H, W)` of every image.
    """

    kind: ClassVar = "pixels"

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self.dim = int(np.prod(shape))

    def check(self, images: ImageSet) -> None:
        """Raise if the images have another shape than the indexed ones, or masks.

        Raises:
            SettingsError: on another shape.
            DataError: on masks.
        """
        images.require_no_masks("Pixel similarity")
        require(
            images.shape == self.shape,
            f"Pixel similarity needs images of shape {self.shape}",
            images.shape,
            "Prepare query images and training images with the same size and crop.",
        )

    def extract(
        self,
        images: ImageSet,
        indices: Sequence[int],
        role: Role = "train",
        trajectories: Sequence[Trajectory | None] | None = None,
        reduction: Reduction = "mean",
    ) -> np.ndarray:
        """Return pixels, float32 of shape `(b, 1, 1, k)`."""
        return images.pixels(indices).numpy().reshape(len(indices), 1, 1, self.dim)
