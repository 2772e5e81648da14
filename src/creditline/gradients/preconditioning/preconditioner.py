"""The interface of every preconditioner of gradients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from torch import Tensor

from creditline.gradients.engine import Engine
from creditline.gradients.noised_batch import NoisedBatch
from creditline.gradients.parameters import Layer
from creditline.gradients.preconditioning.settings import Preconditioning


class Preconditioner(ABC):
    """A linear map of explicit gradients, fitted to training images under one model.

    It is fitted in passes. A pass adds up statistics over evaluations of training images, in parts
    that may run in any process, and then learns from the sums. To add one, subclass it and
    register the class under `creditline.preconditioners`.

    Class attributes:
        passes: number of passes; each has evaluations of its own.
        needs_hooks: whether `add_up` sees what hooks on the layers see (a `HookEngine`).

    Args:
        settings: of the curvature.
        layers: of the gradient.
    """

    passes: ClassVar[int] = 1
    needs_hooks: ClassVar[bool] = False

    def __init__(self, settings: Preconditioning, layers: Sequence[Layer]) -> None:
        self.settings, self.layers = settings, tuple(layers)

    @abstractmethod
    def add_up(
        self, number: int, engine: Engine, noised_images: Sequence[NoisedBatch]
    ) -> dict[str, Tensor]:
        """Compute the statistics of one pass for some evaluations.

        Args:
            number: of the pass, from 0.
            engine: computes explicit gradients, and holds the network (`engine.denoiser`).
            noised_images: evaluations of one training image each.

        Returns:
            Sums over evaluations by name, float32 or float64.
        """

    @abstractmethod
    def learn(self, number: int, sums: Mapping[str, Tensor], evaluations: int) -> None:
        """Learn from the sums of a pass.

        Args:
            number: of the pass.
            sums: what `add_up` returned, added over all evaluations; on the CPU.
            evaluations: their number.
        """

    @abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """Return everything that was learned, by name."""

    @abstractmethod
    def load_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Restore what `state` returned."""

    @abstractmethod
    def apply(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Precondition gradients.

        Args:
            gradients: explicit, one float32 tensor of shape `(b, d_l)` per layer.

        Returns:
            Tensors of the same shapes. Their inner products count; the basis is the
            preconditioner's own.
        """
