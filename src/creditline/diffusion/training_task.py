"""What a run trains: a network with its pictures, and how it is written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from creditline.data.image_set import ImageSet
from creditline.diffusion.denoiser import Denoiser, UNetDenoiser
from creditline.diffusion.precision import Precision
from creditline.diffusion.saving import save_pipeline


class TrainingTask(Protocol):
    """A network in training. What of it requires a gradient is trained.

    Attributes:
        denoiser: the network and how it is called.
        images: what it is trained on.
        parts: that a step's images are computed in; their gradients add up.
        precision: of the network's own arithmetic.
    """

    denoiser: Denoiser
    images: ImageSet
    parts: int
    precision: Precision

    def set_mode(self) -> None:
        """Put the network into the mode of a training step: dropout where it belongs."""

    def batch(
        self, rows: np.ndarray, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Clean tensors of some images, and their conditions, on the CPU.

        Args:
            rows: positions of the images.
            generator: of the step's noise, for what is random about them.
        """

    def shown(self, n: int) -> dict[str, Any]:
        """Classes or prompts of `n` samples, as arguments of `sample`."""

    def save(self, folder: Path, record: Mapping[str, Any], aside: Path) -> None:
        """Write what `load_model` takes, whole or not at all.

        Args:
            folder: where; must not exist.
            record: what its `creditline.json` says besides.
            aside: an existing folder on the same disk, for the draft.
        """


class PixelTrainingTask:
    """A whole `UNet2DModel` on pixels, with dropout as its settings have it.

    Args:
        denoiser: the network.
        images: what it is trained on.
        flip: mirror half of the images.
    """

    parts = 1
    precision: Precision = "fp32"

    def __init__(self, denoiser: UNetDenoiser, images: ImageSet, flip: bool = False) -> None:
        self.denoiser: Denoiser = denoiser
        self._unet = denoiser
        self.images, self.flip = images, flip
        self.labels = None if denoiser.n_classes is None else torch.tensor(images.labels)

    def set_mode(self) -> None:
        self.denoiser.module.train()

    def batch(
        self, rows: np.ndarray, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        x0 = self.images.pixels(rows)
        if self.flip:
            mirrored = torch.rand(len(rows), generator=generator) < 0.5
            x0 = torch.where(mirrored[:, None, None, None], x0.flip(-1), x0)
        return x0, {} if self.labels is None else {"class_labels": self.labels[rows]}

    def shown(self, n: int) -> dict[str, Any]:
        classes = self.denoiser.n_classes
        return {} if classes is None else {"labels": [i % classes for i in range(n)]}

    def save(self, folder: Path, record: Mapping[str, Any], aside: Path) -> None:
        save_pipeline(self._unet, folder, record, aside)
