"""Taps: a module's parameter gradients from what flows through it, image by image.

A tap is shown the module's input on the way forward and the gradient of its output on the way back,
and contracts the two over all places and evaluations of an image. Weights need no gradient of their
own, and where sides are projected both factors are projected before they meet.
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

TopScoreSplit = tuple[Tensor, ...]
"""What a tap remembers between the two ways."""

SearchResult = Iterator[tuple[str, int, Tensor]]
"""A parameter's name, a segment, and gradients of that one and those behind it, `(some, size)`."""

MANY = 4096
"""Places of a gradient from which on a convolution of its own is worth a call."""


class LayerGradient(ABC):
    """One module's parameters.

    Args:
        module: the module.
        names: qualified name of each of its own parameters that is wanted, by own name.
        sides: directions to keep of each weight; None: whole weights.
    """

    kinds: ClassVar[tuple[type[nn.Module], ...]]

    def __init__(
        self, module: Any, names: Mapping[str, str], sides: TwoSidedProjection | None
    ) -> None:
        self.module, self.names, self.sides = module, dict(names), sides

    @property
    def title(self) -> str:
        """Name of the module."""
        return next(iter(self.names.values())).rpartition(".")[0]

    @classmethod
    def fits(cls, module: Any) -> bool:
        """Whether the module works as the tap reckons; a subclass may do otherwise."""
        return type(module) in cls.kinds

    def keep(self, x: Tensor, y: Tensor) -> TopScoreSplit:
        """What has to be remembered of the module's input and output: the input."""
        return (x,)

    @abstractmethod
    def contract(
        self, kept: TopScoreSplit, g: Tensor, segments: EvaluationSegments
    ) -> SearchResult:
        """Gradients summed over each segment; those of one parameter come in order."""

    def _left(self, device: torch.device) -> Tensor | None:
        """Directions of the weight's rows; None: the side is whole."""
        if self.sides is None or "weight" not in self.names:
            return None
        return self.sides.left(self.names["weight"], device)

    def _right(self, device: torch.device) -> Tensor | None:
        """Directions of the weight's columns; None: the side is whole."""
        if self.sides is None or "weight" not in self.names:
            return None
        return self.sides.right(self.names["weight"], device)


class LinearGradient(LayerGradient):
    """`y = x W' + b` over any number of places: `dW = sum g x'`."""

    kinds = (nn.Linear,)

    def keep(self, x: Tensor, y: Tensor) -> TopScoreSplit:
        right = self._right(x.device)
        return (x if right is None else x @ right.to(x.dtype),)

    def contract(
        self, kept: TopScoreSplit, g: Tensor, segments: EvaluationSegments
    ) -> SearchResult:
        a, g = _places(kept[0]), _places(g)
        if "bias" in self.names:
            yield self.names["bias"], 0, segments.sum(g.float().sum(1))
        if "weight" in self.names:
            left = self._left(g.device)
            g = g if left is None else g @ left.to(g.dtype)
            yield self.names["weight"], 0, segments.outer(g.float(), a.float()).flatten(1)


class ConvGradient(LayerGradient):
    """A convolution is a linear map of patches, of which a few columns are kept.

    With groups, every group has its own output rows and its own patches, but the same columns.
    """

    kinds = (nn.Conv2d,)

    @classmethod
    def fits(cls, module: Any) -> bool:
        plain = super().fits(module)
        return plain and module.padding_mode == "zeros" and not isinstance(module.padding, str)

    def keep(self, x: Tensor, y: Tensor) -> TopScoreSplit:
        """The input, or columns of its patches, `(n, groups, m, h, w)`, if they are fewer numbers.

        Columns that are taken on the way back are still in the caches when they are contracted.
        """
        columns = self._columns(x.device)
        return (columns.of_input(x, self.module) if columns is not None and columns.thin else x,)

    def contract(
        self, kept: TopScoreSplit, g: Tensor, segments: EvaluationSegments
    ) -> SearchResult:
        module, shape = self.module, g.shape[2:]
        g = g.flatten(2)  # (n, rows, places)
        if "bias" in self.names:
            yield self.names["bias"], 0, segments.sum(g.float().sum(2))
        if "weight" not in self.names:
            return
        left = self._left(g.device)
        g = g.unflatten(1, (module.groups, -1))
        if left is not None:
            g = left.to(g.dtype).unflatten(0, (module.groups, -1)).mT @ g
        for first, outer in self._outer(kept[0], g.float().unflatten(3, shape), segments):
            # The same columns of all groups: they add up where the left side mixes groups.
            outer = outer if left is None else outer.sum(1, keepdim=True)
            yield self.names["weight"], first, outer.flatten(1)

    def _outer(
        self, a: Tensor, g: Tensor, segments: EvaluationSegments
    ) -> Iterator[tuple[int, Tensor]]:
        """`sum g a'` of every group, with `a` what is kept of the patches.

        Args:
            a: the input, or columns.
            g: shape `(n, groups, o, h, w)`.
            segments: what is summed.

        Yields:
            A segment; and of it and those behind it, shape `(some, groups, o, columns)`.
        """
        module, columns = self.module, self._columns(g.device)
        if columns is not None:
            a = a if columns.thin else columns.of_input(a, module)
            yield 0, _outer(g, a.float(), segments) * columns.factor
            return
        places = math.prod(g.shape[3:])
        # One by one they would keep a GPU waiting for the next.
        calls = a.device.type == "cpu" and math.prod(module.kernel_size) > 1
        if calls and (self.sides is None or places * max(segments.lengths) >= MANY):
            yield from enumerate(self._by_convolution(g, a.float(), segments))
        else:
            seen = patch_views(a.float().unflatten(1, (module.groups, -1)), module)
            yield 0, _outer(g, seen, segments)

    def _columns(self, device: torch.device) -> PatchSketch | None:
        if self.sides is None or "weight" not in self.names:
            return None
        return self.sides.columns(self.names["weight"], device)

    def _by_convolution(
        self, g: Tensor, x: Tensor, segments: EvaluationSegments
    ) -> Iterator[Tensor]:
        """The weight gradient of a convolution for each segment, `(1, groups, o, i * places)`."""
        module, lengths, (groups, o) = self.module, segments.lengths, g.shape[1:3]
        settings = module.stride, module.padding, module.dilation, groups
        shape = (groups * o, x.shape[1] // groups, *module.kernel_size)
        for gradient, seen in zip(g.flatten(1, 2).split(lengths), x.split(lengths), strict=True):
            found = conv2d_weight(seen, shape, gradient, *settings)
            yield found.reshape(1, groups, o, -1)


class GroupNormGradient(LayerGradient):
    """`y = w x̂ + b` by channel: `dw = sum g x̂` and `db = sum g` over places, in one pass of both.

    The mean and scale of the input are those that autograd has kept for its own pass back.
    """

    kinds = (nn.GroupNorm,)

    def keep(self, x: Tensor, y: Tensor) -> TopScoreSplit:
        node = y.grad_fn
        if type(node).__name__ != "NativeGroupNormBackward0":  # nothing before it is differentiable
            groups, eps = self.module.num_groups, self.module.eps
            size = x.shape[0], x.shape[1], math.prod(x.shape[2:])
            _, mean, scale = torch.native_group_norm(x.contiguous(), None, None, *size, groups, eps)
            return x, mean, scale
        return x, node._saved_result1, node._saved_result2  # type: ignore[union-attr]

    def contract(
        self, kept: TopScoreSplit, g: Tensor, segments: EvaluationSegments
    ) -> SearchResult:
        x, mean, scale = (part.float().contiguous() for part in kept)
        n, channels, places = x.shape[0], x.shape[1], math.prod(x.shape[2:])
        # All images as if they were channels of one, whose gradients come channel by channel.
        flat = (1, n * channels, places)
        _, weight, bias = torch.ops.aten.native_group_norm_backward(
            *(g.float().contiguous().view(flat), x.view(flat), mean.view(1, -1), scale.view(1, -1)),
            *(x.new_ones(n * channels), *flat, mean.numel(), (False, True, True)),
        )
        sums = {"weight": weight, "bias": bias}
        for own, name in self.names.items():
            yield name, 0, segments.sum(sums[own].view(n, channels))


class LayerNormGradient(LayerGradient):
    """`y = w x̂ + b` over the last dimensions, with the normalized input reckoned once more."""

    kinds: ClassVar[tuple[type[nn.Module], ...]] = (nn.LayerNorm,)

    def contract(
        self, kept: TopScoreSplit, g: Tensor, segments: EvaluationSegments
    ) -> SearchResult:
        found = {}
        if "bias" in self.names:
            found[self.names["bias"]] = segments.sum(self._over_places(g))
        if "weight" in self.names:
            seen = self._over_places(self._hat(kept[0].float()).mul_(g))
            found[self.names["weight"]] = segments.sum(seen)
        for name, values in found.items():
            # A norm over several dimensions has a weight with sides.
            yield name, 0, values if self.sides is None else self.sides.one(name, values)

    def _over_places(self, x: Tensor) -> Tensor:
        """Sums of shape `(n, d)`."""
        return _places(x.flatten(-len(self._shape))).float().sum(1)

    def _hat(self, x: Tensor) -> Tensor:
        """The normalized input."""
        return functional.layer_norm(x, self._shape, None, None, self.module.eps)

    @property
    def _shape(self) -> tuple[int, ...]:
        return tuple(self.module.normalized_shape)


class RMSNormGradient(LayerNormGradient):
    """`x̂ = x / sqrt(mean x² + eps)` (Zhang & Sennrich, 2019): torch's, and that of diffusers."""

    kinds = (nn.RMSNorm,)

    @classmethod
    def fits(cls, module: Any) -> bool:
        if type(module).__name__ != "RMSNorm" or super().fits(module):
            return super().fits(module)
        from diffusers.models.normalization import RMSNorm

        # Its mean is over the last dimension, however many its weight has.
        return type(module) is RMSNorm and len(module.dim) == 1

    def _hat(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, self._shape, None, self.module.eps)

    @property
    def _shape(self) -> tuple[int, ...]:
        return tuple(self.module.weight.shape)


class EmbeddingGradient(LayerGradient):
    """A linear map of a one-hot input: its left side is a look-up of rows."""

    kinds = (nn.Embedding,)

    @classmethod
    def fits(cls, module: Any) -> bool:
        return super().fits(module) and not (
            module.max_norm is not None
            or module.padding_idx is not None
            or module.scale_grad_by_freq
            or module.sparse
        )

    def contract(
        self, kept: TopScoreSplit, g: Tensor, segments: EvaluationSegments
    ) -> SearchResult:
        left, right = self._left(g.device), self._right(g.device)
        (seen,) = kept
        rows = seen.flatten(1) if seen.ndim > 1 else seen[:, None]
        size = self.module.num_embeddings
        one_hot = functional.one_hot(rows, size).float() if left is None else left[rows]
        a = _places(g)
        a = a if right is None else a @ right.to(a.dtype)
        yield self.names["weight"], 0, segments.outer(one_hot, a.float()).flatten(1)


TAPS: tuple[type[LayerGradient], ...] = (
    *(LinearGradient, ConvGradient, EmbeddingGradient),
    *(GroupNormGradient, LayerNormGradient, RMSNormGradient),
)


def tap_of(module: nn.Module) -> type[LayerGradient] | None:
    """The tap for a module; None: only autograd knows its gradient."""
    return next((tap for tap in TAPS if tap.fits(module)), None)


def _places(x: Tensor) -> Tensor:
    """`(n, ..., d)` as `(n, places, d)`."""
    return x.flatten(1, -2) if x.ndim > 2 else x[:, None]


def _outer(g: Tensor, a: Tensor, segments: EvaluationSegments) -> Tensor:
    """`sum g a'` over places and the evaluations of each segment, in every group.

    Args:
        g: shape `(n, groups, o, h, w)`.
        a: shape `(n, groups, *i, h, w)`.
        segments: what is summed.

    Returns:
        Shape `(segments, groups, o, i)`.
    """
    o, columns, places = g.shape[2], math.prod(a.shape[2:-2]), math.prod(g.shape[3:])
    g = g.flatten(3)
    if o * columns <= (o + columns) * places:  # smaller than its factors: a sum at the end
        # Outputs last: they are as many as processors like, columns often an odd number.
        return segments.sum(a.flatten(-2).flatten(2, -2) @ g.mT).mT
    return segments.reduce(_over_evaluations, g, a)


def _over_evaluations(g: Tensor, a: Tensor) -> Tensor:
    """`sum g a'` over evaluations and places: `(s, l, groups, o, places)` and `(s, l, groups, *i,
    h, w)` to `(s, groups, o, i)`."""
    a = a.movedim(1, -3).flatten(-3).flatten(2, -2)
    return g.movedim(1, -2).flatten(3) @ a.mT
