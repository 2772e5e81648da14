"""The training task: a network, its images, and how the model is written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from creditline.data.image_set import ImageSet
from creditline.diffusion.denoiser import Denoiser
from creditline.diffusion.precision import Precision
from creditline.diffusion.saving import save_pixel_pipeline


class TrainingTask(Protocol):
    """What a `TrainingRun` trains: all parameters that require a gradient.

    Attributes:
        denoiser: the denoiser in training.
        images: training images.
        backward_passes: passes into which a step's images are split; gradients add up.
        precision: precision of the network's arithmetic.
    """

    denoiser: Denoiser
    images: ImageSet
    backward_passes: int
    precision: Precision

    def set_mode(self) -> None:
        """Put the network into training mode, with the dropout of the settings."""

    def batch(
        self, rows: np.ndarray, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return clean samples and conditions of some images, on the CPU.

        Args:
            rows: positions of the images.
            generator: generator of the step, for random augmentation.
        """

    def sample_conditions(self, n: int) -> dict[str, Any]:
        """Return classes or prompts of `n` samples, as arguments of `sample`."""

    def save(self, folder: Path, record: Mapping[str, Any], aside: Path) -> None:
        """Write a folder for `load_model`, atomically.

        Args:
            folder: where to write; must not exist.
            record: further facts for its `creditline.json`.
            aside: an existing folder on the same disk, for the draft.
        """


class PixelTrainingTask:
    """Trains all weights of a denoiser on pixels, with the dropout of its settings.

    Args:
        denoiser: the denoiser.
        images: training images.
        flip: mirror half of the images.
    """

    backward_passes = 1
    precision: Precision = "fp32"

    def __init__(self, denoiser: Denoiser, images: ImageSet, flip: bool = False) -> None:
        self.denoiser: Denoiser = denoiser
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
            x0 = torch.where(mirrored.view(-1, *[1] * (x0.ndim - 1)), x0.flip(-1), x0)
        return x0, {} if self.labels is None else {"class_labels": self.labels[rows]}

    def sample_conditions(self, n: int) -> dict[str, Any]:
        classes = self.denoiser.n_classes
        return {} if classes is None else {"labels": [i % classes for i in range(n)]}

    def save(self, folder: Path, record: Mapping[str, Any], aside: Path) -> None:
        save_pixel_pipeline(self.denoiser, folder, record, aside)
