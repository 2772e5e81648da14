"""Columns: what is kept of the patches that a convolution sees.

A patch has a number for every channel at every place of the kernel. A column is one number of each
patch: one mix of the channels, looked at from one place. To mix channels before patches are taken
costs little, and to take them is to shift pictures. With few channels the mixes are the channels
themselves, and nothing is multiplied at all.

Inner products of two gradients are sums over mixes and places. Neighboring places see nearly the
same, so that orthogonal mixes which share the places out among them tell more of the sum than few
mixes seen from every place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, eq=False)
class PatchSketch:
    """Columns of one convolution's patches.

    Attributes:
        channels: of the input, within a group.
        count: columns, m. Without mixing a multiple of the channels: rounds of all of them.
        mixing: float32 of shape `(channels, m)`; None: channels as they are.
        order: places of the kernel, in the order in which columns take turns at them; another round
            starts at the next one.
        factor: by which what is seen stands for all places and channels.
    """

    channels: int
    count: int
    mixing: Tensor | None
    order: tuple[int, ...]
    factor: float

    @property
    def thin(self) -> bool:
        """Whether they are fewer than the channels that they are taken of."""
        return self.count < self.channels

    @classmethod
    def draw(
        cls, generator: np.random.Generator, channels: int, count: int, places: int, most: int
    ) -> PatchSketch:
        """Random columns: orthonormal mixes, and an order of places.

        The factor `sqrt(places channels / m)` leaves inner products unbiased, since every place is
        as likely as any other for a column, and so is every direction for a mix.

        Args:
            generator: of both.
            channels, count, places: as above; places of the kernel.
            most: up to so many channels are not mixed.
        """
        order = tuple(generator.permutation(places).tolist())
        mixing = None
        if channels > most:
            basis, upper = np.linalg.qr(generator.standard_normal((channels, count)))
            basis *= np.sign(np.diagonal(upper))
            mixing = torch.from_numpy(basis.astype(np.float32))
        return cls(channels, count, mixing, order, math.sqrt(places * channels / count))

    @classmethod
    def everywhere(cls, directions: Tensor, places: int) -> PatchSketch:
        """Some mixes, each looked at from every place, and nothing in the place of others.

        Args:
            directions: float32 of shape `(channels, d)`; columns are `(d, places)`.
            places: of the kernel.
        """
        mixing = directions.repeat_interleave(places, dim=1)
        channels, count = mixing.shape
        return cls(channels, count, mixing, tuple(range(places)), 1.0)

    def to(self, device: torch.device) -> PatchSketch:
        mixing = None if self.mixing is None else self.mixing.to(device)
        return PatchSketch(self.channels, self.count, mixing, self.order, self.factor)

    def of_input(self, x: Tensor, module: Any) -> Tensor:
        """Columns of all patches, without the factor.

        Args:
            x: the convolution's input, shape `(n, groups * channels, height, width)`.
            module: the convolution.

        Returns:
            Shape `(n, groups, m, h, w)`, with the height and width of the output.
        """
        if x.device.type == "cpu" and _keeps_size(module):
            return self._shifted(self._mixed(x, module).contiguous(), module)
        return self.of_input_at_once(x, module)

    def _shifted(self, x: Tensor, module: Any) -> Tensor:
        """Columns of a convolution whose output is as large as its input.

        What a place sees of a picture is the picture moved, in memory by as many numbers at every
        point: one copy, and zeros where it went around an edge.
        """
        found = torch.empty_like(x)
        height, width = x.shape[3:]
        size = height * width
        pictures, each = x.shape[0] * x.shape[1], self.count * size
        for place, columns in self._turns():
            kernel = divmod(place, module.kernel_size[1])
            down, right = (
                (at - wide // 2) * apart
                for at, wide, apart in zip(kernel, module.kernel_size, module.dilation, strict=True)
            )
            first, many = columns.start * size, len(range(*columns.indices(self.count)))
            chosen, steps = (pictures, many), (each, columns.step * size)
            if abs(down) >= height or abs(right) >= width:  # nothing but padding
                found.as_strided((*chosen, size), (*steps, 1), first).zero_()
                continue
            by = down * width + right
            within, strides = (*chosen, size - abs(by)), (*steps, 1)
            seen = x.as_strided(within, strides, x.storage_offset() + first + max(0, by))
            found.as_strided(within, strides, first + max(0, -by)).copy_(seen)
            if down:
                edge = first + (size - down * width if down > 0 else 0)
                found.as_strided((*chosen, abs(down) * width), strides, edge).zero_()
            if right:
                edge = first + (width - right if right > 0 else 0)
                beside = (*chosen, height, abs(right))
                found.as_strided(beside, (*steps, width, 1), edge).zero_()
        return found

    def of_input_at_once(self, x: Tensor, module: Any) -> Tensor:
        """`of_input` of any convolution, in few calls; shifting takes a third of it on a CPU."""
        x = self._mixed(x, module)
        seen = torch.empty(self.count, dtype=torch.int64)
        for place, columns in self._turns():
            seen[columns] = place
        wide = module.kernel_size[1]
        chosen = torch.stack([torch.arange(self.count), seen // wide, seen % wide]).to(x.device)
        return patch_views(x, module)[(slice(None), slice(None), *chosen)]

    def _mixed(self, x: Tensor, module: Any) -> Tensor:
        """What each column is taken of, shape `(n, groups, m, height, width)`."""
        x = x.unflatten(1, (module.groups, -1))
        if self.mixing is not None:
            # without [None] the channels would be copied
            mixed = self.mixing.T.to(x.dtype)[None] @ x.flatten(3)
            return mixed.unflatten(3, x.shape[3:])
        if self.count > self.channels:
            return x.repeat(1, 1, self.count // self.channels, 1, 1)
        return x

    def of_weight(self, matrix: Tensor) -> Tensor:
        """Columns of a weight's gradient, with the factor.

        Args:
            matrix: shape `(..., rows, channels, places)`.

        Returns:
            Shape `(..., rows, m)`.
        """
        found = matrix.new_empty(*matrix.shape[:-2], self.count)
        channels = torch.arange(self.count) % self.channels
        for place, columns in self._turns():
            seen = matrix[..., place]
            if self.mixing is None:
                found[..., columns] = seen[..., channels[columns]]
            else:
                found[..., columns] = seen @ self.mixing[:, columns]
        return found * self.factor

    def _turns(self) -> Iterator[tuple[int, slice]]:
        """Places, and the columns that look from there."""
        places = len(self.order)
        width = self.count if self.mixing is not None else self.channels
        for turn, start in enumerate(range(0, self.count, width)):
            for i in range(min(places, width)):
                yield self.order[(i + turn) % places], slice(start + i, start + width, places)


def _keeps_size(module: Any) -> bool:
    """Whether the output has the input's height and width, and as many places before as after."""
    kernel, apart = module.kernel_size, module.dilation
    middle = tuple(gap * (wide - 1) / 2 for wide, gap in zip(kernel, apart, strict=True))
    return tuple(module.stride) == (1, 1) and tuple(module.padding) == middle


def patch_views(x: Tensor, module: Any) -> Tensor:
    """What a convolution sees at each place, as a view of its padded input.

    Where it is copied, `functional.unfold` would take several times as long on a CPU.

    Args:
        x: shape `(n, groups, i, height, width)`.
        module: the convolution.

    Returns:
        Shape `(n, groups, i, *kernel, h, w)`.
    """
    (up, left), (tall, wide) = module.padding, module.kernel_size
    seen = functional.pad(x, (left, left, up, up)) if up or left else x
    for axis, size in ((3, tall), (4, wide)):
        step, apart = module.stride[axis - 3], module.dilation[axis - 3]
        seen = seen.unfold(axis, (size - 1) * apart + 1, step)[..., ::apart]
    return seen.permute(0, 1, 2, 5, 6, 3, 4)
