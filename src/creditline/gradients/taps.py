"""Taps: a module's parameter gradients from what flows through it, image by image.

A tap is shown the module's input on the way forward and the gradient of its output on the way back,
and contracts the two over all places and evaluations of an image. Weights need no gradient of their
own, and where sides are projected both factors are projected before they meet.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from creditline.gradients.sides import Sides

MANY = 4096
"""Places of a gradient from which on a convolution of its own is worth a call."""


@dataclass(frozen=True)
class Segments:
    """How the evaluations of a pass belong to the gradients that are wanted.

    Attributes:
        lengths: evaluations of each gradient, one after another in the batch.
    """

    lengths: tuple[int, ...]

    def sum(self, rows: Tensor) -> Tensor:
        """Sums over each segment.

        Args:
            rows: shape `(n * f, ...)`, n evaluations with f rows each.

        Returns:
            Shape `(segments, ...)`.
        """
        return self.reduce(lambda x: x.sum(1), rows)

    def outer(self, g: Tensor, a: Tensor) -> Tensor:
        """Outer products summed over places and each segment.

        Args:
            g, a: shape `(n * f, places, o)` and `(n * f, places, i)`.

        Returns:
            Shape `(segments, o, i)`.
        """
        return self.reduce(lambda g, a: g.flatten(1, 2).mT @ a.flatten(1, 2), g, a)

    def reduce(self, function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
        """Apply what takes `(s, l, ...)` to `(s, ...)` to the rows of each segment."""
        n, length = sum(self.lengths), self.lengths[0]
        rows = len(tensors[0]) // n
        if all(other == length for other in self.lengths):
            return function(*(x.unflatten(0, (-1, length * rows)) for x in tensors))
        split = [x.split([length * rows for length in self.lengths]) for x in tensors]
        parts = [function(*(x[None] for x in group)) for group in zip(*split, strict=True)]
        return torch.cat(parts)


class Tap(ABC):
    """One module's parameters.

    Args:
        module: the module.
        names: qualified name of each of its own parameters that is wanted, by own name.
        sides: directions to keep of each weight; None: whole weights.
    """

    kinds: ClassVar[tuple[type[nn.Module], ...]]

    def __init__(self, module: Any, names: Mapping[str, str], sides: Sides | None) -> None:
        self.module, self.names, self.sides = module, dict(names), sides

    @property
    def title(self) -> str:
        """Name of the module."""
        return next(iter(self.names.values())).rpartition(".")[0]

    @classmethod
    def fits(cls, module: Any) -> bool:
        """Whether the module works as the tap reckons; a subclass may do otherwise."""
        return type(module) in cls.kinds

    @abstractmethod
    def keep(self, x: Tensor) -> Tensor:
        """What has to be remembered of the module's input."""

    @abstractmethod
    def contract(self, kept: Tensor, g: Tensor, segments: Segments) -> dict[str, Tensor]:
        """Gradients summed over each segment, `(segments, size)` by qualified name."""

    def _sides(self, own: str, device: torch.device) -> tuple[Tensor | None, Tensor | None]:
        """Left and right directions of one weight; None: the side is whole."""
        if self.sides is None or own not in self.names:
            return None, None
        name = self.names[own]
        return self.sides.left(name, device), self.sides.right(name, device)


class LinearTap(Tap):
    """`y = x W' + b` over any number of places: `dW = sum g x'`."""

    kinds = (nn.Linear,)

    def keep(self, x: Tensor) -> Tensor:
        _, right = self._sides("weight", x.device)
        return x if right is None else x @ right.to(x.dtype)

    def contract(self, kept: Tensor, g: Tensor, segments: Segments) -> dict[str, Tensor]:
        found = {}
        a, g = _places(kept), _places(g)
        if "bias" in self.names:
            found[self.names["bias"]] = segments.sum(g.float().sum(1))
        if "weight" in self.names:
            left, _ = self._sides("weight", g.device)
            g = g if left is None else g @ left.to(g.dtype)
            found[self.names["weight"]] = segments.outer(g.float(), a.float()).flatten(1)
        return found


class ConvTap(Tap):
    """A convolution is a linear map of patches; their channels are mixed before they are taken.

    With groups, every group has its own output rows and its own patches, but one `R`.
    """

    kinds = (nn.Conv2d,)

    @classmethod
    def fits(cls, module: Any) -> bool:
        plain = super().fits(module)
        return plain and module.padding_mode == "zeros" and not isinstance(module.padding, str)

    def keep(self, x: Tensor) -> Tensor:
        _, right = self._sides("weight", x.device)
        if right is None:
            return x
        channels = x.flatten(2).unflatten(1, (self.module.groups, -1))
        mixed = right.T.to(x.dtype)[None] @ channels  # without [None] the channels are copied
        return mixed.flatten(1, 2).unflatten(2, x.shape[2:])

    def contract(self, kept: Tensor, g: Tensor, segments: Segments) -> dict[str, Tensor]:
        module, found, shape = self.module, {}, g.shape[2:]
        g = g.flatten(2)  # (n, rows, places)
        if "bias" in self.names:
            found[self.names["bias"]] = segments.sum(g.float().sum(2))
        if "weight" not in self.names:
            return found
        left, _ = self._sides("weight", g.device)
        g = g.unflatten(1, (module.groups, -1))
        if left is not None:
            g = left.to(g.dtype).unflatten(0, (module.groups, -1)).mT @ g
        outer = self._outer(g.float().unflatten(3, shape), kept.float(), segments)
        # One R for all groups: what they see of it adds up where the left side mixes them.
        outer = outer if left is None else outer.sum(1, keepdim=True)
        found[self.names["weight"]] = outer.flatten(1)
        return found

    def _outer(self, g: Tensor, x: Tensor, segments: Segments) -> Tensor:
        """`sum g a'` of every group, with `a` the patches of the input.

        Args:
            g: shape `(n, groups, o, h, w)`.
            x: shape `(n, groups * i, ...)`.
            segments: what is summed.

        Returns:
            Shape `(segments, groups, o, i, *kernel)`.
        """
        _, groups, o, h, w = g.shape
        i, kernel = x.shape[1] // groups, self.module.kernel_size
        columns, places = i * math.prod(kernel), h * w
        if columns > i and (self.sides is None or places * max(segments.lengths) >= MANY):
            return self._by_convolution(g, x, segments)
        a, g = self._patches(x), g.flatten(3)
        if o * columns <= (o + columns) * places:  # smaller than its factors: a sum at the end
            outer = segments.sum(g @ a.flatten(5).flatten(2, 4).mT)
        else:
            outer = segments.reduce(_over_evaluations, g, a)
        return outer.unflatten(3, (i, *kernel))

    def _patches(self, x: Tensor) -> Tensor:
        """What is seen at each place, a view of shape `(n, groups, i, *kernel, h, w)`.

        Where it is copied, `functional.unfold` would take several times as long on a CPU.
        """
        module = self.module
        (up, left), (tall, wide) = module.padding, module.kernel_size
        windows = functional.pad(x, (left, left, up, up))
        for axis, size in ((2, tall), (3, wide)):
            step, apart = module.stride[axis - 2], module.dilation[axis - 2]
            windows = windows.unfold(axis, (size - 1) * apart + 1, step)[..., ::apart]
        return windows.permute(0, 1, 4, 5, 2, 3).unflatten(1, (module.groups, -1))

    def _by_convolution(self, g: Tensor, x: Tensor, segments: Segments) -> Tensor:
        """`_outer` by the weight gradient of a convolution, one for each segment."""
        module, lengths, groups = self.module, segments.lengths, g.shape[1]
        o, i = g.shape[2], x.shape[1] // groups
        settings = module.stride, module.padding, module.dilation, groups
        found = x.new_empty(len(lengths), groups, o, i, *module.kernel_size)
        shape = (groups * o, i, *module.kernel_size)
        parts = zip(found, g.flatten(1, 2).split(lengths), x.split(lengths), strict=True)
        for one, gradient, seen in parts:
            one.copy_(conv2d_weight(seen, shape, gradient, *settings).view_as(one))
        return found


class NormTap(Tap):
    """`y = w x̂ + b`: `dw = sum g x̂`, with the normalised input reckoned once more."""

    def keep(self, x: Tensor) -> Tensor:
        return x

    def contract(self, kept: Tensor, g: Tensor, segments: Segments) -> dict[str, Tensor]:
        found = {}
        if "bias" in self.names:
            found[self.names["bias"]] = segments.sum(self._over_places(g))
        if "weight" in self.names:
            found[self.names["weight"]] = segments.sum(
                self._over_places(self._hat(kept.float()).mul_(g))
            )
        if self.sides is None:
            return found
        # A norm over several dimensions has a weight with sides.
        return {name: self.sides.one(name, values) for name, values in found.items()}

    @abstractmethod
    def _hat(self, x: Tensor) -> Tensor:
        """The normalised input."""

    @abstractmethod
    def _over_places(self, x: Tensor) -> Tensor:
        """Sums of shape `(n, d)`."""


class GroupNormTap(NormTap):
    """Channels, then places."""

    kinds = (nn.GroupNorm,)

    def _hat(self, x: Tensor) -> Tensor:
        return functional.group_norm(x, self.module.num_groups, None, None, self.module.eps)

    def _over_places(self, x: Tensor) -> Tensor:
        return x.flatten(2).float().sum(2)


class LayerNormTap(NormTap):
    """Places, then the normalised dimensions."""

    kinds: ClassVar[tuple[type[nn.Module], ...]] = (nn.LayerNorm,)

    def _hat(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, self._shape, None, None, self.module.eps)

    def _over_places(self, x: Tensor) -> Tensor:
        return _places(x.flatten(-len(self._shape))).float().sum(1)

    @property
    def _shape(self) -> tuple[int, ...]:
        return tuple(self.module.normalized_shape)


class RMSNormTap(LayerNormTap):
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


class EmbeddingTap(Tap):
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

    def keep(self, x: Tensor) -> Tensor:
        return x

    def contract(self, kept: Tensor, g: Tensor, segments: Segments) -> dict[str, Tensor]:
        left, right = self._sides("weight", g.device)
        rows = kept.flatten(1) if kept.ndim > 1 else kept[:, None]
        size = self.module.num_embeddings
        one_hot = functional.one_hot(rows, size).float() if left is None else left[rows]
        a = _places(g)
        a = a if right is None else a @ right.to(a.dtype)
        return {self.names["weight"]: segments.outer(one_hot, a.float()).flatten(1)}


TAPS: tuple[type[Tap], ...] = (
    *(LinearTap, ConvTap, EmbeddingTap),
    *(GroupNormTap, LayerNormTap, RMSNormTap),
)


def tap_of(module: nn.Module) -> type[Tap] | None:
    """The tap for a module; None: only autograd knows its gradient."""
    return next((tap for tap in TAPS if tap.fits(module)), None)


def _places(x: Tensor) -> Tensor:
    """`(n, ..., d)` as `(n, places, d)`."""
    return x.flatten(1, -2) if x.ndim > 2 else x[:, None]


def _over_evaluations(g: Tensor, a: Tensor) -> Tensor:
    """`sum g a'` over evaluations and places: `(s, l, groups, o, places)` and `(s, l, groups, i,
    *kernel, h, w)` to `(s, groups, o, i * kernel)`."""
    a = a.movedim(1, -3).flatten(5).flatten(2, 4)
    return g.movedim(1, -2).flatten(3) @ a.mT
