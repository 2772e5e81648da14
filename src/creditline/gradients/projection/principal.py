"""Principal directions of both sides of each weight's gradient, fitted to training images.

Principal directions of a layer's weight are the leading eigenvectors of `sum_i D_i D_i'` (of its
outputs) and `sum_i D_i' D_i` (of its inputs), where `D_i` is the gradient of image i minus the mean
over images: the truncated higher-order singular value decomposition (De Lathauwer et al. 2000).
LoGra (Choe et al. 2024) takes the eigenvectors of the second moments of inputs and of output
gradients separately; from those, what all images have in common cannot be subtracted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from creditline.gradients.parameters import Layer
from creditline.gradients.patch_sketch import PatchSketch
from creditline.gradients.projection.state import GradientStatistic
from creditline.gradients.projection.two_sided import TwoSidedProjection, WeightShape

LARGE = 0.7
"""Share of a direction's largest entry from which on an entry may decide its sign."""


class PrincipalProjection(TwoSidedProjection):
    """The directions of either side along which gradients of images differ most.

    They are orthonormal and not scaled, so inner products lack what they leave out. A side keeps at
    most `rank` directions. A convolution uses the same directions of channels at every kernel
    position.

    Args:
        layers: the gradient's layers.
        rank: most directions of a side.
        directions: by parameter and side, as `PrincipalDirections` computes them.
    """

    def __init__(
        self, layers: Sequence[Layer], rank: int, directions: Mapping[str, np.ndarray]
    ) -> None:
        super().__init__(layers, rank, seed=0)
        self._directions = directions

    @classmethod
    def _weight_shape(cls, name: str, shape: tuple[int, int, int], rank: int) -> WeightShape:
        rows, columns, positions = shape
        right = positions * min(columns, -(-rank // positions))
        return WeightShape(name, shape, min(rows, rank), right)

    def _basis(self, weight: WeightShape, side: str) -> Tensor:
        return torch.from_numpy(self._directions[f"{weight.name}/{side}"])

    def _draw_patch_sketch(self, weight: WeightShape) -> PatchSketch:
        return PatchSketch.at_all_positions(self._basis(weight, "right"), weight.shape[2])


class PrincipalDirections(GradientStatistic):
    """Principal directions of the weights of some layers, second moments in float64.

    Args:
        layers: of the gradients.
        rank: most directions of a side.
    """

    def __init__(self, layers: Sequence[Layer], rank: int) -> None:
        self._layers = [_LayerMoments(layer, rank) for layer in layers]

    def add(self, gradient: Sequence[Tensor]) -> None:
        for layer, flat in zip(self._layers, gradient, strict=True):
            layer.add(flat)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return directions by `parameter/side`, float32 of shape `(size, kept)`.

        Columns are orthonormal, the largest variance first. Sides that keep all their dimensions
        are left out.
        """
        return {key: basis for layer in self._layers for key, basis in layer.directions()}


class _LayerMoments:
    """First and second moments of one layer's gradient."""

    def __init__(self, layer: Layer, rank: int) -> None:
        shapes = PrincipalProjection.weight_shapes((layer,), rank)
        self.weights = [shapes[name] for name in layer.parameters]
        self.sizes = [math.prod(shape) for shape in layer.shapes]
        self.total = torch.zeros(layer.size, dtype=torch.float64)
        self.count = 0
        self.moments = {
            f"{w.name}/{side}": torch.zeros(size, size, dtype=torch.float64)
            for w in self.weights
            for side, size in _reduced_sides(w)
        }

    def add(self, flat: Tensor) -> None:
        self.count += 1
        self.total += flat
        for key, outer in self._outer_products(flat):
            self.moments[key] += outer

    def directions(self) -> Iterator[tuple[str, np.ndarray]]:
        ranks = {f"{w.name}/{s}": _ranks(w)[s] for w in self.weights for s, _ in _reduced_sides(w)}
        for key, of_mean in self._outer_products(self.total / self.count):
            _, vectors = np.linalg.eigh((self.moments[key] / self.count - of_mean).numpy())
            basis = vectors[:, ::-1][:, : ranks[key]]
            yield key, np.ascontiguousarray(basis * _signs(basis), dtype=np.float32)

    def _outer_products(self, flat: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield the gradient times itself, summed over everything but one side."""
        for weight, part in zip(self.weights, flat.split(self.sizes), strict=True):
            for side, _ in _reduced_sides(weight):
                matrix = part.unflatten(0, weight.shape)
                matrix = matrix if side == "left" else matrix.transpose(0, 1)
                matrix = matrix.flatten(1)
                yield f"{weight.name}/{side}", matrix @ matrix.T


def _signs(basis: np.ndarray) -> np.ndarray:
    """Choose signs of eigenvectors that do not depend on the library.

    The first large entry becomes positive. The largest would not do: behind a group norm of two
    channels the largest entries come in pairs of opposite sign, and rounding would choose.
    """
    size = np.abs(basis)
    first = (size > LARGE * size.max(0)).argmax(0)
    return np.sign(np.take_along_axis(basis, first[None], axis=0))


def _reduced_sides(weight: WeightShape) -> list[tuple[str, int]]:
    """Return the sides that do not keep all their dimensions, and their sizes."""
    if len(weight.shape) == 1:
        return []
    sizes, ranks = {"left": weight.shape[0], "right": weight.shape[1]}, _ranks(weight)
    return [(side, size) for side, size in sizes.items() if ranks[side] < size]


def _ranks(weight: WeightShape) -> dict[str, int]:
    """Return the number of directions of rows, and of columns at each kernel position."""
    return {"left": weight.left, "right": weight.right // weight.shape[2]}
