"""Two-sided projections: a weight's gradient in a few directions of its outputs and its inputs.

The gradient of a weight is a sum of outer products `g a'` of output gradients and inputs. So it can
be projected by projecting its factors, `L' (sum g a') R = sum (L'g)(R'a)'`, and is never computed
itself (LoGra, Choe et al. 2024). A convolution's inputs are patches, which a `PatchSketch` reduces.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from creditline.fingerprint import key64
from creditline.gradients.parameters import Layer
from creditline.gradients.patch_sketch import PatchSketch

T = TypeVar("T", Tensor, PatchSketch)


@dataclass(frozen=True)
class WeightShape:
    """One parameter as a matrix; a vector has no sides and keeps all its elements.

    Attributes:
        name: the parameter's qualified name.
        shape: `(rows, columns, positions)`: outputs, inputs, positions of a convolution's kernel or
            1; `(d,)` of a vector.
        left: number of directions of rows.
        right: number of directions of columns; of a convolution, of columns at positions.
    """

    name: str
    shape: tuple[int, ...]
    left: int
    right: int

    @property
    def size(self) -> int:
        """Size of the projected gradient."""
        return self.left * self.right


class TwoSidedProjection:
    """Random directions of both sides of every weight of some layers.

    Each side is a random subspace: the columns of `L` are orthonormal times `sqrt(rows / left)`, so
    that `E[L L'] = 1` and inner products are unbiased. They are drawn with numpy by (seed,
    parameter, side).

    A linear map's side of more than twice `rank` dimensions is reduced to `rank`; projecting a
    smaller one would cost more than it saves. A convolution with at most `rank` inputs, counted at
    every kernel position, keeps all of them. Otherwise it keeps one column per channel (several
    where channels are fewer than half of `rank`), or `rank / 2` columns of mixed channels where
    there are more than `rank` channels. With that few columns, projecting the outputs pays only
    from four times `rank` of them.

    Args:
        layers: the gradient's layers.
        rank: number of directions of a side, as described.
        seed: of the directions.

    Attributes:
        sizes: projected size of each layer.
        weights: by parameter name.
    """

    def __init__(self, layers: Sequence[Layer], rank: int, seed: int) -> None:
        self.layers, self.rank, self.seed = tuple(layers), rank, seed
        self.weights = self.weight_shapes(layers, rank)
        self.sizes = kept_sizes(layers, self.weights)
        self._by_device: dict[tuple[str, str, torch.device], Any] = {}

    @classmethod
    def weight_shapes(cls, layers: Sequence[Layer], rank: int) -> dict[str, WeightShape]:
        """Return the shape of each parameter before and after the projection, by name."""
        return {
            name: WeightShape(name, (math.prod(shape),), math.prod(shape), 1)
            if len(shape) < 2
            else cls._weight_shape(name, (shape[0], shape[1], math.prod(shape[2:])), rank)
            for layer in layers
            for name, shape in zip(layer.parameters, layer.shapes, strict=True)
        }

    @classmethod
    def _weight_shape(cls, name: str, shape: tuple[int, int, int], rank: int) -> WeightShape:
        rows, columns, positions = shape
        if positions == 1:
            ranks = (size if size <= 2 * rank else rank for size in (rows, columns))
            return WeightShape(name, shape, *ranks)
        few = max(1, rank // 2)
        right = few if columns > rank else columns * max(1, few // columns)
        right = columns * positions if columns * positions <= rank else right
        return WeightShape(name, shape, rows if rows <= 4 * rank else rank, right)

    def left(self, name: str, device: torch.device) -> Tensor | None:
        """Return `L` of a weight, float32 of shape `(rows, left)`; None: all rows are kept."""
        weight = self.weights[name]
        if weight.left == weight.shape[0]:
            return None
        return self._on_device(name, "left", device, lambda: self._basis(weight, "left"))

    def right(self, name: str, device: torch.device) -> Tensor | None:
        """Return `R` of a linear map, float32 of shape `(columns, right)`; None: all are kept."""
        weight = self.weights[name]
        if weight.right == weight.shape[1]:
            return None
        return self._on_device(name, "right", device, lambda: self._basis(weight, "right"))

    def patch_sketch(self, name: str, device: torch.device) -> PatchSketch | None:
        """Return the sketch of a convolution's patches; None: all of a patch is kept."""
        weight = self.weights[name]
        if weight.right == math.prod(weight.shape[1:]):
            return None
        return self._on_device(name, "patches", device, lambda: self._draw_patch_sketch(weight))

    def project(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Project explicit gradients.

        Args:
            gradients: one tensor of shape `(..., d_l)` per layer.

        Returns:
            One of shape `(..., size_l)` per layer.
        """
        return [
            torch.cat(
                [
                    self.project_parameter(name, part)
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

    def project_parameter(self, name: str, flat: Tensor) -> Tensor:
        """Project one parameter's explicit gradient, `(..., d)` to `(..., size)`, in float32."""
        weight, flat = self.weights[name], flat.float()
        if len(weight.shape) == 1:
            return flat
        matrix = flat.unflatten(-1, weight.shape)
        if weight.shape[2] == 1:
            right = self.right(name, flat.device)
            matrix = matrix[..., 0] if right is None else matrix[..., 0] @ right
        else:
            sketch = self.patch_sketch(name, flat.device)
            matrix = matrix.flatten(-2) if sketch is None else sketch.sketch_weight(matrix)
        left = self.left(name, flat.device)
        return (matrix if left is None else left.T @ matrix).flatten(-2)

    def _on_device(self, name: str, side: str, device: torch.device, draw: Callable[[], T]) -> T:
        """Draw something once and move it to a device once."""
        key = (name, side, device)
        if key not in self._by_device:
            self._by_device[key] = draw().to(device)
        result: T = self._by_device[key]
        return result

    def _generator(self, weight: WeightShape, side: str) -> np.random.Generator:
        key = key64("two-sided", self.seed, weight.name, side)
        return np.random.Generator(np.random.Philox(key=key))

    def _basis(self, weight: WeightShape, side: str) -> Tensor:
        """Draw the directions of one side, float32 of shape `(size, count)`."""
        size, count = {
            "left": (weight.shape[0], weight.left),
            "right": (weight.shape[1], weight.right),
        }[side]
        normal = self._generator(weight, side).standard_normal((size, count))
        basis, upper = np.linalg.qr(normal)
        basis *= np.sign(np.diagonal(upper)) * math.sqrt(size / count)
        return torch.from_numpy(basis.astype(np.float32))

    def _draw_patch_sketch(self, weight: WeightShape) -> PatchSketch:
        _, channels, positions = weight.shape
        if positions == 1:
            return PatchSketch.at_all_positions(self._basis(weight, "right"), 1)
        generator = self._generator(weight, "right")
        return PatchSketch.draw(generator, channels, weight.right, positions, self.rank)


def kept_sizes(layers: Sequence[Layer], weights: Mapping[str, WeightShape] | None) -> list[int]:
    """Return the size of each layer after a two-sided projection; None: without one."""
    return [sum(size for _, size in parameter_sizes(layer, weights)) for layer in layers]


def parameter_sizes(
    layer: Layer, weights: Mapping[str, WeightShape] | None
) -> Iterator[tuple[str, int]]:
    """Yield a layer's parameters in order, with their sizes after a two-sided projection."""
    for name, shape in zip(layer.parameters, layer.shapes, strict=True):
        yield name, math.prod(shape) if weights is None else weights[name].size
