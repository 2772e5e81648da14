"""What a projection learns from gradients of training images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from creditline.gradients.parameters import Layer
    from creditline.gradients.projection.settings import Projection

VARIANCES = "variances"


class GradientStatistic(ABC):
    """Something computed from the gradients of one training image after another."""

    @abstractmethod
    def add(self, gradient: Sequence[Tensor]) -> None:
        """Add one gradient.

        Args:
            gradient: explicit, one flat float32 tensor of shape `(d_l,)` per layer, on the CPU.
        """

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """Return the result by name; called once, after the last gradient."""


class LayerVariances(GradientStatistic):
    """Variance of each layer's gradient over images, summed over its elements."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._totals = [torch.zeros(layer.size, dtype=torch.float64) for layer in layers]
        self._squares = [0.0 for _ in layers]
        self._count = 0

    def add(self, gradient: Sequence[Tensor]) -> None:
        self._count += 1
        for i, flat in enumerate(gradient):
            self._totals[i] += flat
            self._squares[i] += float(flat.double().square().sum())

    def arrays(self) -> dict[str, np.ndarray]:
        means = [total / self._count for total in self._totals]
        variances = [
            max(0.0, square / self._count - float(mean.square().sum()))
            for square, mean in zip(self._squares, means, strict=True)
        ]
        return {VARIANCES: np.array(variances)}


@dataclass(frozen=True, eq=False)
class ProjectionState:
    """What a projection learned from the gradients of one model.

    Attributes:
        directions: arrays of the projection's own statistic, by name.
        variances: of each layer's gradient over images, summed over its elements, `(layers,)`.
    """

    directions: Mapping[str, np.ndarray]
    variances: np.ndarray

    @classmethod
    def fit(
        cls, settings: Projection, layers: Sequence[Layer], gradients: Iterable[Sequence[Tensor]]
    ) -> ProjectionState:
        """Compute the variances of layers, and the statistic that the projection declares.

        Args:
            settings: of the projection.
            layers: of the gradients.
            gradients: explicit gradients of one image after another, one flat tensor of shape
                `(d_l,)` per layer.
        """
        own, variances = settings.projector.statistic(settings, layers), LayerVariances(layers)
        statistics = [variances] if own is None else [variances, own]
        for gradient in gradients:
            on_cpu = [flat.float().cpu() for flat in gradient]
            for statistic in statistics:
                statistic.add(on_cpu)
        directions = {} if own is None else own.arrays()
        return cls(directions, variances.arrays()[VARIANCES])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what is stored, by name."""
        return {VARIANCES: self.variances, **self.directions}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> ProjectionState:
        """Restore what `arrays` returned."""
        directions = {name: array for name, array in arrays.items() if name != VARIANCES}
        return cls(directions, arrays[VARIANCES])


def rows_to_fit(n: int, count: int) -> np.ndarray:
    """Choose `count` of `n` training images to fit to, spread evenly; returns positions."""
    return np.unique(np.linspace(0, n - 1, min(count, n)).round().astype(np.int64))


def share_variances(states: Sequence[ProjectionState]) -> tuple[ProjectionState, ...]:
    """Replace variances by each layer's mean share over models, which gives all one layout.

    Args:
        states: one per model.
    """
    shares = np.stack([one.variances / (one.variances.sum() or 1.0) for one in states])
    return tuple(replace(one, variances=shares.mean(0)) for one in states)
