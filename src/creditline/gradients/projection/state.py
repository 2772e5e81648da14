"""What a projection learns from the gradients of some training images.

Principal directions of a layer's weight are the leading eigenvectors of `sum_i D_i D_i'` (of its
outputs) and `sum_i D_i' D_i` (of its inputs), where `D_i` is the gradient of image i less the mean
over images: the truncated higher-order singular value decomposition (De Lathauwer et al. 2000).
LoGra (Choe et al. 2024) takes the eigenvectors of the second moments of inputs and of output
gradients, each by itself; from those what all images have in common cannot be taken off.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from creditline.gradients.parameters import Layer
from creditline.gradients.projection.two_sided import PrincipalProjection, WeightShape

LARGE = 0.7
"""Of the largest entry of a direction: entries from which on one may decide its sign."""


@dataclass(frozen=True, eq=False)
class ProjectionState:
    """What a projection learned from the gradients of one model.

    Attributes:
        directions: float32 of shape `(size, kept)` by `parameter/side`, orthonormal columns with
            the largest variance first; without sides that are kept whole.
        variances: of each layer's gradient over images, summed over its elements, `(layers,)`.
    """

    directions: Mapping[str, np.ndarray]
    variances: np.ndarray

    @classmethod
    def fit(
        cls, layers: Sequence[Layer], rank: int, gradients: Iterable[Sequence[Tensor]]
    ) -> ProjectionState:
        """Compute principal directions and variances.

        Args:
            layers: of the gradients.
            rank: most directions of a side.
            gradients: explicit gradients of one image after another, one flat tensor of shape
                `(d_l,)` per layer.
        """
        moments = [
            _LayerMoments(layer, PrincipalProjection.kept((layer,), rank)) for layer in layers
        ]
        for gradient in gradients:
            for one, flat in zip(moments, gradient, strict=True):
                one.add(flat.float().cpu())
        directions = {key: basis for one in moments for key, basis in one.directions().items()}
        return cls(directions, np.array([one.variance() for one in moments]))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what is stored, by name."""
        return {"variances": self.variances, **self.directions}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> ProjectionState:
        """Restore what `arrays` returned."""
        directions = {name: array for name, array in arrays.items() if name != "variances"}
        return cls(directions, arrays["variances"])


def share_variances(states: Sequence[ProjectionState]) -> tuple[ProjectionState, ...]:
    """Replace variances by each layer's mean share over models, which gives all one layout.

    Args:
        states: one per model.
    """
    shares = np.stack([one.variances / (one.variances.sum() or 1.0) for one in states])
    return tuple(replace(one, variances=shares.mean(0)) for one in states)


def rows_to_fit(n: int, count: int) -> np.ndarray:
    """Choose `count` of `n` training images to fit to, spread evenly; returns positions."""
    return np.unique(np.linspace(0, n - 1, min(count, n)).round().astype(np.int64))


class _LayerMoments:
    """First and second moments of one layer's gradient, second ones in float64."""

    def __init__(self, layer: Layer, weights: Mapping[str, WeightShape]) -> None:
        self.weights = [weights[name] for name in layer.parameters]
        self.sizes = [math.prod(shape) for shape in layer.shapes]
        self.total = torch.zeros(layer.size, dtype=torch.float64)
        self.square, self.count = 0.0, 0
        self.moments = {
            f"{w.name}/{side}": torch.zeros(size, size, dtype=torch.float64)
            for w in self.weights
            for side, size in _cut(w)
        }

    def add(self, flat: Tensor) -> None:
        self.count += 1
        self.total += flat
        self.square += float(flat.double().square().sum())
        for key, outer in self._outers(flat):
            self.moments[key] += outer

    def variance(self) -> float:
        mean = self.total / self.count
        return max(0.0, self.square / self.count - float(mean.square().sum()))

    def directions(self) -> dict[str, np.ndarray]:
        kept = {f"{w.name}/{s}": _kept(w)[s] for w in self.weights for s, _ in _cut(w)}
        found = {}
        for key, common in self._outers(self.total / self.count):
            _, vectors = np.linalg.eigh((self.moments[key] / self.count - common).numpy())
            basis = vectors[:, ::-1][:, : kept[key]]
            found[key] = np.ascontiguousarray(basis * _signs(basis), dtype=np.float32)
        return found

    def _outers(self, flat: Tensor) -> Iterable[tuple[str, Tensor]]:
        """The gradient times itself, summed over everything but one side."""
        for weight, part in zip(self.weights, flat.split(self.sizes), strict=True):
            for side, _ in _cut(weight):
                matrix = part.unflatten(0, weight.shape)
                matrix = matrix if side == "left" else matrix.transpose(0, 1)
                matrix = matrix.flatten(1)
                yield f"{weight.name}/{side}", matrix @ matrix.T


def _signs(basis: np.ndarray) -> np.ndarray:
    """Signs of columns, which are eigenvectors either way: the same ones whatever the library.

    The first large entry becomes positive. The largest would not do: behind a norm of two channels
    a group they come in pairs, equal but for sign, and rounding would choose.
    """
    size = np.abs(basis)
    first = (size > LARGE * size.max(0)).argmax(0)
    return np.sign(np.take_along_axis(basis, first[None], axis=0))


def _cut(weight: WeightShape) -> list[tuple[str, int]]:
    """The sides that are not kept whole, and their sizes."""
    if len(weight.shape) == 1:
        return []
    sizes, kept = {"left": weight.shape[0], "right": weight.shape[1]}, _kept(weight)
    return [(side, size) for side, size in sizes.items() if kept[side] < size]


def _kept(weight: WeightShape) -> dict[str, int]:
    """Directions that are kept of rows, and of columns at each place."""
    return {"left": weight.left, "right": weight.right // weight.shape[2]}
