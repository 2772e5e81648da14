"""Two-sided projections: the gradient of a layer's weight seen from a few directions of each side.

The gradient of a weight is a sum of outer products `g a'` of output gradients and inputs, so it can
be projected by projecting its factors, `L' (sum g a') R = sum (L'g)(R'a)'`, and need never be
formed. A convolution's inputs are patches, and what is kept of them are columns (`columns.py`).
Directions are drawn at random, or learnt from the gradients of some images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from creditline.fingerprint import key64
from creditline.gradients.patch_sketch import PatchSketch

if TYPE_CHECKING:
    from creditline.gradients.parameters import Layer

T = TypeVar("T", Tensor, PatchSketch)


@dataclass(frozen=True)
class WeightShape:
    """One parameter as a matrix; a vector has no sides and is kept whole.

    Attributes:
        name: the parameter's qualified name.
        shape: `(rows, columns, places)`: outputs, inputs, elements of a convolution's kernel or 1;
            `(d,)` of a vector.
        left: directions that are kept of rows.
        right: those of columns; of a convolution, of columns at places.
    """

    name: str
    shape: tuple[int, ...]
    left: int
    right: int

    @property
    def size(self) -> int:
        """Numbers that are kept."""
        return self.left * self.right


class TwoSidedProjection:
    """Directions of both sides of every weight of some layers.

    Each side is a random subspace, the columns of `L` orthonormal but for the factor
    `sqrt(rows / left)`, so that `E[L L'] = 1` and inner products are unbiased. Drawn with numpy by
    (seed, parameter, side).

    A linear map's side of more than twice `rank` dimensions is cut to `rank`; with less, projecting
    would cost more than it spares. A convolution keeps up to `rank` inputs, counted at every place,
    whole; else one column for every channel (more where there are fewer than half of `rank`), or,
    with more than `rank` channels, half of `rank` columns of mixes. So few columns are met by up to
    four times `rank` outputs sooner than these are projected.

    Args:
        layers: the gradient's layers.
        rank: directions of a side, as described.
        seed: of the directions.

    Attributes:
        sizes: numbers that are kept of each layer.
        weights: by parameter name.
    """

    def __init__(self, layers: Sequence[Layer], rank: int, seed: int) -> None:
        self.layers, self.rank, self.seed = tuple(layers), rank, seed
        self.weights = self.kept(layers, rank)
        self.sizes = kept_sizes(layers, self)
        self._placed: dict[tuple[str, str, torch.device], Any] = {}

    @classmethod
    def kept(cls, layers: Sequence[Layer], rank: int) -> dict[str, WeightShape]:
        """How much of each weight is kept, by parameter name."""
        return {
            name: WeightShape(name, (math.prod(shape),), math.prod(shape), 1)
            if len(shape) < 2
            else cls._weight(name, (shape[0], shape[1], math.prod(shape[2:])), rank)
            for layer in layers
            for name, shape in zip(layer.parameters, layer.shapes, strict=True)
        }

    @classmethod
    def _weight(cls, name: str, shape: tuple[int, int, int], rank: int) -> WeightShape:
        rows, columns, places = shape
        if places == 1:
            kept = (size if size <= 2 * rank else rank for size in (rows, columns))
            return WeightShape(name, shape, *kept)
        few = max(1, rank // 2)
        right = few if columns > rank else columns * max(1, few // columns)
        right = columns * places if columns * places <= rank else right
        return WeightShape(name, shape, rows if rows <= 4 * rank else rank, right)

    def left(self, name: str, device: torch.device) -> Tensor | None:
        """`L` of a weight, float32 of shape `(rows, left)`; None: the side is whole."""
        weight = self.weights[name]
        if weight.left == weight.shape[0]:
            return None
        return self._once(name, "left", device, lambda: self._basis(weight, "left"))

    def right(self, name: str, device: torch.device) -> Tensor | None:
        """`R` of a linear map, float32 of shape `(columns, right)`; None: the side is whole."""
        weight = self.weights[name]
        if weight.right == weight.shape[1]:
            return None
        return self._once(name, "right", device, lambda: self._basis(weight, "right"))

    def columns(self, name: str, device: torch.device) -> PatchSketch | None:
        """What is kept of a convolution's patches; None: all of it."""
        weight = self.weights[name]
        if weight.right == math.prod(weight.shape[1:]):
            return None
        return self._once(name, "columns", device, lambda: self._columns(weight))

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
        if weight.shape[2] == 1:
            right = self.right(name, flat.device)
            matrix = matrix[..., 0] if right is None else matrix[..., 0] @ right
        else:
            columns = self.columns(name, flat.device)
            matrix = matrix.flatten(-2) if columns is None else columns.of_weight(matrix)
        left = self.left(name, flat.device)
        return (matrix if left is None else left.T @ matrix).flatten(-2)

    def _once(self, name: str, side: str, device: torch.device, draw: Callable[[], T]) -> T:
        key = (name, side, device)
        if key not in self._placed:
            self._placed[key] = draw().to(device)
        found: T = self._placed[key]
        return found

    def _generator(self, weight: WeightShape, side: str) -> np.random.Generator:
        key = key64("two-sided", self.seed, weight.name, side)
        return np.random.Generator(np.random.Philox(key=key))

    def _basis(self, weight: WeightShape, side: str) -> Tensor:
        """Directions of one side, float32 of shape `(size, kept)`."""
        size, kept = {
            "left": (weight.shape[0], weight.left),
            "right": (weight.shape[1], weight.right),
        }[side]
        normal = self._generator(weight, side).standard_normal((size, kept))
        basis, upper = np.linalg.qr(normal)
        basis *= np.sign(np.diagonal(upper)) * math.sqrt(size / kept)
        return torch.from_numpy(basis.astype(np.float32))

    def _columns(self, weight: WeightShape) -> PatchSketch:
        _, channels, places = weight.shape
        if places == 1:
            return PatchSketch.everywhere(self._basis(weight, "right"), 1)
        generator = self._generator(weight, "right")
        return PatchSketch.draw(generator, channels, weight.right, places, self.rank)


class PrincipalProjection(TwoSidedProjection):
    """The directions of either side along which gradients of images differ most.

    Orthonormal and not scaled: what they leave out is left out of inner products, too. A side keeps
    at most `rank`; columns of a convolution are the same directions of channels at every place.

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

    @classmethod
    def _weight(cls, name: str, shape: tuple[int, int, int], rank: int) -> WeightShape:
        rows, columns, places = shape
        return WeightShape(name, shape, min(rows, rank), places * min(columns, -(-rank // places)))

    def _basis(self, weight: WeightShape, side: str) -> Tensor:
        return torch.from_numpy(self._directions[f"{weight.name}/{side}"])

    def _columns(self, weight: WeightShape) -> PatchSketch:
        return PatchSketch.everywhere(self._basis(weight, "right"), weight.shape[2])


def kept_sizes(layers: Sequence[Layer], sides: TwoSidedProjection | None) -> list[int]:
    """Numbers that are kept of each layer's gradient; without sides all of them."""
    return [sum(size for _, size in kept_parts(layer, sides)) for layer in layers]


def kept_parts(layer: Layer, sides: TwoSidedProjection | None) -> Iterator[tuple[str, int]]:
    """Parameters of a layer in order, and how many numbers are kept of each one's gradient."""
    for name, shape in zip(layer.parameters, layer.shapes, strict=True):
        yield name, math.prod(shape) if sides is None else sides.weights[name].size
