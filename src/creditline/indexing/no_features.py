"""The extractor of methods that are not fitted on features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from creditline.data.image_set import ImageSet
from creditline.diffusion.denoiser import Denoiser
from creditline.features.extractor import FeatureExtractor
from creditline.gradients.noise_plan import Reduction, Role
from creditline.gradients.noised_batch import Trajectory


class NoFeatures(FeatureExtractor):
    """Extracts empty features, so that an index holds the facts and thumbnails of images alone.

    Args:
        denoisers: models that the images have to fit; empty where the method takes none.
    """

    kind = "none"
    dim = 0
    models = 0

    def __init__(self, denoisers: Sequence[Denoiser] = ()) -> None:
        self.denoisers = tuple(denoisers)

    def check(self, images: ImageSet) -> None:
        """Refuse masks, and images that do not fit the models."""
        images.require_no_masks("A method without features")
        for denoiser in self.denoisers:
            denoiser.check(images)

    def extract(
        self,
        images: ImageSet,
        indices: Sequence[int],
        role: Role = "train",
        trajectories: Sequence[Trajectory | None] | None = None,
        reduction: Reduction = "mean",
    ) -> np.ndarray:
        """Return features of shape `(b, 1, 0, 0)`."""
        return np.empty((len(indices), 1, 0, 0), np.float32)
