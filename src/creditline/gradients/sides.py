"""Two-sided projections: the gradient of a layer's weight seen from a few directions of each side.

The gradient of a weight is a sum of outer products `g a'` of output gradients and inputs, so it can
be projected by projecting its factors, `L' (sum g a') R = sum (L'g)(R'a)'`, and need never be
formed. A convolution's `R` mixes channels and leaves the places of the kernel apart, so that inputs
are mixed before their patches are taken, at a fraction of what the convolution itself costs.
Directions are drawn at random, or learnt from the gradients of some images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from creditline.fingerprint import key64

if TYPE_CHECKING:
    from creditline.gradients.parameters import Layer


@dataclass(frozen=True)
class Weight:
    """One parameter as a matrix; a vector has no sides and is kept whole.

    Attributes:
        name: the parameter's qualified name.
        shape: `(rows, columns, places)`: outputs, inputs, elements of a convolution's kernel or 1;
            `(d,)` of a vector.
        left, right: directions that are kept of rows and columns.
    """

    name: str
    shape: tuple[int, ...]
    left: int
    right: int

    @property
    def size(self) -> int:
        """Numbers that are kept."""
        return self.left * self.right * math.prod(self.shape[2:])


class Sides:
    """Directions of both sides of every weight of some layers.

    Each side is a random subspace, the columns of `L` orthonormal but for the factor
    `sqrt(rows / left)`, so that `E[L L'] = 1` and inner products are unbiased. A side with no more
    than `rank` dimensions is kept whole, counting columns once for every place of the kernel. Drawn
    with numpy by (seed, parameter, side).

    Args:
        layers: the gradient's layers.
        rank: most directions of a side.
        seed: of the directions.

    Attributes:
        sizes: numbers that are kept of each layer.
        weights: by parameter name.
    """

    def __init__(self, layers: Sequence[Layer], rank: int, seed: int) -> None:
        self.layers, self.seed = tuple(layers), seed
        self.weights = kept_weights(layers, rank)
        self.sizes = [sum(self.weights[name].size for name in x.parameters) for x in layers]
        self._placed: dict[tuple[str, str, torch.device], Tensor] = {}

    def left(self, name: str, device: torch.device) -> Tensor | None:
        """`L` of a weight, float32 of shape `(rows, left)`; None: the side is whole."""
        weight = self.weights[name]
        return self._side(name, "left", weight.shape[0], weight.left, device)

    def right(self, name: str, device: torch.device) -> Tensor | None:
        """`R` of a weight, float32 of shape `(columns, right)`; None: the side is whole."""
        weight = self.weights[name]
        return self._side(name, "right", weight.shape[1], weight.right, device)

    def compress(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """What is kept of whole gradients.

        Args:
            gradients: one tensor of shape `(..., d_l)` per layer.

        Returns:
            One of shape `(..., size_l)` per layer.
        """
        return [
            torch.cat(
                [
                    self.one(name, part)
                    for name, part in zip(
                        layer.parameters,
                        values.split([math.prod(shape) for shape in layer.shapes], dim=-1),
                        strict=True,
                    )
                ],
                dim=-1,
            )
            for layer, values in zip(self.layers, gradients, strict=True)
        ]

    def one(self, name: str, flat: Tensor) -> Tensor:
        """What is kept of one parameter's gradient, `(..., d)` to `(..., size)`, in float32."""
        weight, flat = self.weights[name], flat.float()
        if len(weight.shape) == 1:
            return flat
        matrix = flat.unflatten(-1, weight.shape)
        left, right = self.left(weight.name, flat.device), self.right(weight.name, flat.device)
        if right is not None:
            matrix = right.T @ matrix
        matrix = matrix.flatten(-2)
        if left is not None:
            matrix = left.T @ matrix
        return matrix.flatten(-2)

    def _side(
        self, name: str, side: str, size: int, kept: int, device: torch.device
    ) -> Tensor | None:
        if kept == size:
            return None
        key = (name, side, device)
        if key not in self._placed:
            self._placed[key] = torch.from_numpy(self._basis(name, side, size, kept)).to(device)
        return self._placed[key]

    def _basis(self, name: str, side: str, size: int, kept: int) -> np.ndarray:
        """Directions of one side, float32 of shape `(size, kept)`."""
        philox = np.random.Philox(key=key64("two-sided", self.seed, name, side))
        normal = np.random.Generator(philox).standard_normal((size, kept))
        basis, upper = np.linalg.qr(normal)
        basis *= np.sign(np.diagonal(upper)) * math.sqrt(size / kept)
        return basis.astype(np.float32)


class PrincipalSides(Sides):
    """The directions of either side along which gradients of images differ most.

    Orthonormal and not scaled: what they leave out is left out of inner products, too.

    Args:
        layers: the gradient's layers.
        rank: most directions of a side.
        directions: by parameter and side, as `learn` finds them.
    """

    def __init__(
        self, layers: Sequence[Layer], rank: int, directions: Mapping[str, np.ndarray]
    ) -> None:
        super().__init__(layers, rank, seed=0)
        self._directions = directions

    def _basis(self, name: str, side: str, size: int, kept: int) -> np.ndarray:
        return self._directions[f"{name}/{side}"]


def kept_weights(layers: Sequence[Layer], rank: int) -> dict[str, Weight]:
    """How many directions of each weight are kept, by parameter name."""
    return {
        name: _weight(name, shape, rank)
        for layer in layers
        for name, shape in zip(layer.parameters, layer.shapes, strict=True)
    }


def kept_sizes(layers: Sequence[Layer], sides: Sides | None) -> list[int]:
    """Numbers that are kept of each layer's gradient; without sides all of them."""
    return [layer.size for layer in layers] if sides is None else sides.sizes


def _weight(name: str, shape: tuple[int, ...], rank: int) -> Weight:
    if len(shape) < 2:
        size = math.prod(shape)
        return Weight(name, (size,), size, 1)
    rows, columns, places = shape[0], shape[1], math.prod(shape[2:])
    right = min(columns, -(-rank // places))
    return Weight(name, (rows, columns, places), min(rows, rank), right)
