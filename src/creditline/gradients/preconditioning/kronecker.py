"""Weights whose curvature is a Kronecker product, and what K-FAC sees of them.

The gradient of a linear map is a sum of outer products `s a^T` over positions, with `a` the input
and `s` the gradient of the output (Martens & Grosse, ICML 2015). A convolution is linear in patches
(Grosse & Martens, ICML 2016). A bias is a column of the weight whose input is one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from creditline.gradients.layer_gradients import (
    ConvGradient,
    LayerGradient,
    LinearGradient,
    SavedTensors,
    flatten_positions,
)
from creditline.gradients.parameters import Layer
from creditline.gradients.patch_sketch import patch_views

HELD = 1 << 26
"""Most bytes of patches at once; those of one evaluation always fit."""


@dataclass(frozen=True)
class KroneckerShape:
    """The gradient of a layer as one matrix, `rows x columns`.

    Attributes:
        rows: outputs, o.
        columns: inputs, those of a bias included.
        bias: position of the bias among the layer's parameters; None: it has none.
    """

    rows: int
    columns: int
    bias: int | None

    @classmethod
    def of(cls, layer: Layer) -> KroneckerShape | None:
        """The shape of a layer of one weight and at most a bias; None: it has another one."""
        weights = [shape for shape in layer.shapes if len(shape) > 1]
        rest = [i for i, shape in enumerate(layer.shapes) if len(shape) == 1]
        if len(weights) != 1 or len(rest) > 1:
            return None
        (weight,) = weights
        if rest and layer.shapes[rest[0]] != weight[:1]:
            return None
        columns = math.prod(weight[1:]) + len(rest)
        return cls(weight[0], columns, rest[0] if rest else None)

    def to_matrix(self, flat: Tensor) -> Tensor:
        """View gradients of shape `(b, d_l)` as `(b, rows, columns)`."""
        if self.bias is None:
            return flat.unflatten(1, (self.rows, self.columns))
        is_first, size = self.bias == 0, self.rows * (self.columns - 1)
        parts = flat.split([self.rows, size] if is_first else [size, self.rows], dim=1)
        bias, weight = parts if is_first else parts[::-1]
        return torch.cat([weight.unflatten(1, (self.rows, -1)), bias[:, :, None]], dim=2)

    def to_flat(self, matrix: Tensor) -> Tensor:
        """Invert `to_matrix`."""
        if self.bias is None:
            return matrix.flatten(1)
        weight, bias = matrix[:, :, :-1].flatten(1), matrix[:, :, -1]
        return torch.cat([bias, weight] if self.bias == 0 else [weight, bias], dim=1)


def has_kronecker_form(layer: LayerGradient) -> bool:
    """Whether a layer's weight is linear in what `kronecker_inputs` returns."""
    return isinstance(layer, (LinearGradient, ConvGradient)) and "weight" in layer.names


def kronecker_inputs(
    layer: LayerGradient, saved: SavedTensors, g: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield inputs and output gradients of a layer, some evaluations at a time.

    Args:
        layer: of Kronecker form, without a projection.
        saved: what its forward pass saved.
        g: gradient of its output.

    Yields:
        Inputs, float32 of shape `(b, groups, positions, columns)`, with ones for a bias, and
        output gradients `(b, groups, positions, o)` of each group's own outputs.
    """
    (x,) = saved
    if isinstance(layer, LinearGradient):
        pairs = iter([(flatten_positions(x)[:, None], flatten_positions(g)[:, None])])
    else:
        pairs = _patches(layer, x, g)
    for a, s in pairs:
        ones = [a.new_ones(*a.shape[:-1], 1)] if "bias" in layer.names else []
        yield torch.cat([a, *ones], dim=-1).float(), s.float()


def _patches(layer: LayerGradient, x: Tensor, g: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    module = layer.module
    groups, positions = module.groups, math.prod(g.shape[2:])
    columns = math.prod(module.weight.shape[1:])
    size = max(1, HELD // (4 * groups * positions * columns))
    for some, gradient in zip(x.split(size), g.split(size), strict=True):
        seen = patch_views(some.unflatten(1, (groups, -1)), module)  # (b, groups, i, *kernel, h, w)
        a = seen.flatten(-2).flatten(2, -2).mT
        yield a, gradient.unflatten(1, (groups, -1)).flatten(3).mT
