"""A module's parameter gradients from its input and the gradient of its output, image by image.

A `LayerGradient` saves the module's input in the forward pass. In the backward pass it contracts
the input with the gradient of the output over all positions and evaluations of an image. Weights
need no gradient of their own, and a two-sided projection applies to both factors before that.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from creditline.gradients.patch_sketch import PatchSketch, patch_views
from creditline.gradients.projection.two_sided import TwoSidedProjection
from creditline.gradients.segments import EvaluationSegments

SavedTensors = tuple[Tensor, ...]
"""What the forward pass saves for the backward pass."""

ParameterGradients = Iterator[tuple[str, int, Tensor]]
"""A parameter's name, its first segment, and gradients of consecutive segments, `(some, size)`."""

MANY = 4096
"""Number of positions from which on one convolution call per gradient is cheaper."""


class LayerGradient(ABC):
    """Gradients of one module's parameters.

    Class attributes:
        module_types: modules that it computes gradients of.

    Args:
        module: the module.
        names: qualified names of the selected parameters, by their names in the module.
        two_sided: projection of each weight's gradient; None: explicit gradients.
    """

    module_types: ClassVar[tuple[type[nn.Module], ...]]

    def __init__(
        self, module: Any, names: Mapping[str, str], two_sided: TwoSidedProjection | None
    ) -> None:
        self.module, self.names, self.two_sided = module, dict(names), two_sided

    @property
    def title(self) -> str:
        """Name of the module."""
        return next(iter(self.names.values())).rpartition(".")[0]

    @classmethod
    def supports(cls, module: Any) -> bool:
        """Whether it computes the gradients of a module; a subclass of a type may differ."""
        return type(module) in cls.module_types

    def save(self, x: Tensor, y: Tensor) -> SavedTensors:
        """Return what the backward pass needs of the module's input and output: the input."""
        return (x,)

    @abstractmethod
    def contract(
        self, saved: SavedTensors, g: Tensor, segments: EvaluationSegments
    ) -> ParameterGradients:
        """Yield gradients summed over each segment, those of one parameter in order."""

    def _left(self, device: torch.device) -> Tensor | None:
        """Directions of the weight's rows; None: all are kept."""
        if self.two_sided is None or "weight" not in self.names:
            return None
        return self.two_sided.left(self.names["weight"], device)

    def _right(self, device: torch.device) -> Tensor | None:
        """Directions of the weight's columns; None: all are kept."""
        if self.two_sided is None or "weight" not in self.names:
            return None
        return self.two_sided.right(self.names["weight"], device)


class LinearGradient(LayerGradient):
    """`y = x W' + b` at any number of positions: `dW = sum g x'`."""

    module_types = (nn.Linear,)

    def save(self, x: Tensor, y: Tensor) -> SavedTensors:
        right = self._right(x.device)
        return (x if right is None else x @ right.to(x.dtype),)

    def contract(
        self, saved: SavedTensors, g: Tensor, segments: EvaluationSegments
    ) -> ParameterGradients:
        a, g = flatten_positions(saved[0]), flatten_positions(g)
        if "bias" in self.names:
            yield self.names["bias"], 0, segments.sum(g.float().sum(1))
        if "weight" in self.names:
            left = self._left(g.device)
            g = g if left is None else g @ left.to(g.dtype)
            yield self.names["weight"], 0, segments.outer(g.float(), a.float()).flatten(1)


class ConvGradient(LayerGradient):
    """A convolution is a linear map of patches, which a two-sided projection sketches.

    With groups, every group has its own output rows and its own patches, but the same columns.
    """

    module_types = (nn.Conv2d,)

    @classmethod
    def supports(cls, module: Any) -> bool:
        plain = super().supports(module)
        return plain and module.padding_mode == "zeros" and not isinstance(module.padding, str)

    def save(self, x: Tensor, y: Tensor) -> SavedTensors:
        """Return the input, or its patch sketch `(n, groups, m, h, w)` if that is smaller.

        A sketch that is computed in the backward pass is still in the CPU's caches when it is
        contracted.
        """
        sketch = self._patch_sketch(x.device)
        if sketch is None or not sketch.is_narrow:
            return (x,)
        return (sketch.sketch_input(x, self.module),)

    def contract(
        self, saved: SavedTensors, g: Tensor, segments: EvaluationSegments
    ) -> ParameterGradients:
        module, shape = self.module, g.shape[2:]
        g = g.flatten(2)  # (n, rows, positions)
        if "bias" in self.names:
            yield self.names["bias"], 0, segments.sum(g.float().sum(2))
        if "weight" not in self.names:
            return
        left = self._left(g.device)
        g = g.unflatten(1, (module.groups, -1))
        if left is not None:
            g = left.to(g.dtype).unflatten(0, (module.groups, -1)).mT @ g
        for first, outer in self._outer(saved[0], g.float().unflatten(3, shape), segments):
            # All groups have the same columns: sum them where the left side mixes groups.
            outer = outer if left is None else outer.sum(1, keepdim=True)
            yield self.names["weight"], first, outer.flatten(1)

    def _outer(
        self, a: Tensor, g: Tensor, segments: EvaluationSegments
    ) -> Iterator[tuple[int, Tensor]]:
        """Compute `sum g a'` of every group, with `a` the patches or their sketch.

        Args:
            a: the input, or the sketch of its patches.
            g: shape `(n, groups, o, h, w)`.
            segments: evaluations to sum over.

        Yields:
            First segment, and sums of consecutive segments, shape `(some, groups, o, columns)`.
        """
        module, sketch = self.module, self._patch_sketch(g.device)
        if sketch is not None:
            a = a if sketch.is_narrow else sketch.sketch_input(a, module)
            yield 0, _outer(g, a.float(), segments) * sketch.factor
            return
        positions = math.prod(g.shape[3:])
        # On a GPU, one call per gradient would leave it idle.
        calls = a.device.type == "cpu" and math.prod(module.kernel_size) > 1
        if calls and (self.two_sided is None or positions * max(segments.lengths) >= MANY):
            yield from enumerate(self._by_convolution(g, a.float(), segments))
        else:
            seen = patch_views(a.float().unflatten(1, (module.groups, -1)), module)
            yield 0, _outer(g, seen, segments)

    def _patch_sketch(self, device: torch.device) -> PatchSketch | None:
        if self.two_sided is None or "weight" not in self.names:
            return None
        return self.two_sided.patch_sketch(self.names["weight"], device)

    def _by_convolution(
        self, g: Tensor, x: Tensor, segments: EvaluationSegments
    ) -> Iterator[Tensor]:
        """Compute the weight gradient of each segment, `(1, groups, o, i * positions)`."""
        module, lengths, (groups, o) = self.module, segments.lengths, g.shape[1:3]
        settings = module.stride, module.padding, module.dilation, groups
        shape = (groups * o, x.shape[1] // groups, *module.kernel_size)
        for gradient, seen in zip(g.flatten(1, 2).split(lengths), x.split(lengths), strict=True):
            weight = conv2d_weight(seen, shape, gradient, *settings)
            yield weight.reshape(1, groups, o, -1)


class GroupNormGradient(LayerGradient):
    """`y = w x̂ + b` by channel: `dw = sum g x̂` and `db = sum g` over positions, in one call.

    The mean and scale of the input are those that autograd saved for its own backward pass.
    """

    module_types = (nn.GroupNorm,)

    def save(self, x: Tensor, y: Tensor) -> SavedTensors:
        node = y.grad_fn
        if type(node).__name__ != "NativeGroupNormBackward0":  # no input requires a gradient
            groups, eps = self.module.num_groups, self.module.eps
            size = x.shape[0], x.shape[1], math.prod(x.shape[2:])
            _, mean, scale = torch.native_group_norm(x.contiguous(), None, None, *size, groups, eps)
            return x, mean, scale
        return x, node._saved_result1, node._saved_result2  # type: ignore[union-attr]

    def contract(
        self, saved: SavedTensors, g: Tensor, segments: EvaluationSegments
    ) -> ParameterGradients:
        x, mean, scale = (part.float().contiguous() for part in saved)
        n, channels, places = x.shape[0], x.shape[1], math.prod(x.shape[2:])
        # Images are passed as channels of one image, since the kernel sums over images.
        flat = (1, n * channels, places)
        _, weight, bias = torch.ops.aten.native_group_norm_backward(
            *(g.float().contiguous().view(flat), x.view(flat), mean.view(1, -1), scale.view(1, -1)),
            *(x.new_ones(n * channels), *flat, mean.numel(), (False, True, True)),
        )
        sums = {"weight": weight, "bias": bias}
        for own, name in self.names.items():
            yield name, 0, segments.sum(sums[own].view(n, channels))


class LayerNormGradient(LayerGradient):
    """`y = w x̂ + b` over the last dimensions; the normalized input is computed again."""

    module_types: ClassVar[tuple[type[nn.Module], ...]] = (nn.LayerNorm,)

    def contract(
        self, saved: SavedTensors, g: Tensor, segments: EvaluationSegments
    ) -> ParameterGradients:
        gradients = {}
        if "bias" in self.names:
            gradients[self.names["bias"]] = segments.sum(self._sum_positions(g))
        if "weight" in self.names:
            seen = self._sum_positions(self._normalize(saved[0].float()).mul_(g))
            gradients[self.names["weight"]] = segments.sum(seen)
        for name, values in gradients.items():
            # A norm over several dimensions has a weight with two sides.
            yield name, 0, self._project(name, values)

    def _project(self, name: str, values: Tensor) -> Tensor:
        return values if self.two_sided is None else self.two_sided.project_parameter(name, values)

    def _sum_positions(self, x: Tensor) -> Tensor:
        """Sum over positions, to shape `(n, d)`."""
        return flatten_positions(x.flatten(-len(self._shape))).float().sum(1)

    def _normalize(self, x: Tensor) -> Tensor:
        """Normalize the input."""
        return functional.layer_norm(x, self._shape, None, None, self.module.eps)

    @property
    def _shape(self) -> tuple[int, ...]:
        return tuple(self.module.normalized_shape)


class RMSNormGradient(LayerNormGradient):
    """`x̂ = x / sqrt(mean x² + eps)` (Zhang & Sennrich, 2019), of torch or diffusers."""

    module_types = (nn.RMSNorm,)

    @classmethod
    def supports(cls, module: Any) -> bool:
        if type(module).__name__ != "RMSNorm" or super().supports(module):
            return super().supports(module)
        from diffusers.models.normalization import RMSNorm

        # Its mean is over the last dimension, whatever the shape of its weight.
        return type(module) is RMSNorm and len(module.dim) == 1

    def _normalize(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, self._shape, None, self.module.eps)

    @property
    def _shape(self) -> tuple[int, ...]:
        return tuple(self.module.weight.shape)


class EmbeddingGradient(LayerGradient):
    """A linear map of a one-hot input: its left side is a lookup of rows."""

    module_types = (nn.Embedding,)

    @classmethod
    def supports(cls, module: Any) -> bool:
        return super().supports(module) and not (
            module.max_norm is not None
            or module.padding_idx is not None
            or module.scale_grad_by_freq
            or module.sparse
        )

    def contract(
        self, saved: SavedTensors, g: Tensor, segments: EvaluationSegments
    ) -> ParameterGradients:
        left, right = self._left(g.device), self._right(g.device)
        (ids,) = saved
        rows = ids.flatten(1) if ids.ndim > 1 else ids[:, None]
        size = self.module.num_embeddings
        one_hot = functional.one_hot(rows, size).float() if left is None else left[rows]
        a = flatten_positions(g)
        a = a if right is None else a @ right.to(a.dtype)
        yield self.names["weight"], 0, segments.outer(one_hot, a.float()).flatten(1)


LAYER_GRADIENTS: tuple[type[LayerGradient], ...] = (
    *(LinearGradient, ConvGradient, EmbeddingGradient),
    *(GroupNormGradient, LayerNormGradient, RMSNormGradient),
)


def find_layer_gradient(module: nn.Module) -> type[LayerGradient] | None:
    """Return the class that computes a module's gradients; None: only autograd does."""
    return next((kind for kind in LAYER_GRADIENTS if kind.supports(module)), None)


def flatten_positions(x: Tensor) -> Tensor:
    """View `(n, ..., d)` as `(n, positions, d)`."""
    return x.flatten(1, -2) if x.ndim > 2 else x[:, None]


def _outer(g: Tensor, a: Tensor, segments: EvaluationSegments) -> Tensor:
    """Compute `sum g a'` over positions and the evaluations of each segment, in every group.

    Args:
        g: shape `(n, groups, o, h, w)`.
        a: shape `(n, groups, *i, h, w)`.
        segments: evaluations to sum over.

    Returns:
        Shape `(segments, groups, o, i)`.
    """
    o, columns, positions = g.shape[2], math.prod(a.shape[2:-2]), math.prod(g.shape[3:])
    g = g.flatten(3)
    if (
        o * columns <= (o + columns) * positions
    ):  # smaller than its factors: sum products at the end
        # Outputs last: their number suits vector units, that of columns is often odd.
        return segments.sum(a.flatten(-2).flatten(2, -2) @ g.mT).mT
    return segments.reduce(_over_evaluations, g, a)


def _over_evaluations(g: Tensor, a: Tensor) -> Tensor:
    """Compute `sum g a'` over evaluations and positions.

    Args:
        g: shape `(s, l, groups, o, positions)`.
        a: shape `(s, l, groups, *i, h, w)`.

    Returns:
        Shape `(s, groups, o, i)`.
    """
    a = a.movedim(1, -3).flatten(-3).flatten(2, -2)
    return g.movedim(1, -2).flatten(3) @ a.mT
