"""The interface of every preconditioner of gradients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from torch import Tensor

from creditline.gradients.engine import Engine
from creditline.gradients.noised_batch import NoisedBatch
from creditline.gradients.parameters import Layer
from creditline.gradients.preconditioning.settings import Preconditioning


class Preconditioner(ABC):
    """A linear map of explicit gradients, fitted to training images under one model.

    To add one, subclass it and register the class under `creditline.preconditioners`.

    Args:
        settings: damping and number of images.
        layers: of the gradient.
    """

    def __init__(self, settings: Preconditioning, layers: Sequence[Layer]) -> None:
        self.settings, self.layers = settings, tuple(layers)

    @abstractmethod
    def fit(self, engine: Engine, noised_images: Iterable[NoisedBatch]) -> None:
        """Estimate what `apply` needs.

        Args:
            engine: computes explicit gradients, and holds the network (`engine.denoiser`).
            noised_images: the evaluations of one training image after another.
        """

    @abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """Return everything that `fit` estimated, by name."""

    @abstractmethod
    def load_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Restore what `state` returned."""

    @abstractmethod
    def apply(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Precondition gradients.

        Args:
            gradients: explicit, one float32 tensor of shape `(b, d_l)` per layer.

        Returns:
            Tensors of the same shapes.
        """
