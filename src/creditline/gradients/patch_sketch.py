"""Sketches of the patches that a convolution multiplies with its weight.

A patch has a number for every channel at every position of the kernel. A column of the sketch is
one number of each patch: one mix of the channels at one position. Mixing channels before patches
are taken is cheap, and taking one position of all patches is shifting the image. With few channels
the mixes are the channels themselves, and nothing is multiplied.

The inner product of two gradients is a sum over mixes and positions. Neighboring positions see
nearly the same. So orthogonal mixes that divide the positions among them estimate the sum better
than few mixes that see every position.
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
        count: number of columns, m; without mixing a multiple of the channels.
        mixing: float32 of shape `(channels, m)`; None: channels as they are.
        order: positions of the kernel, in the order in which columns take turns at them. Another
            round of channels starts at the next one.
        factor: makes inner products unbiased for all positions and channels.
    """

    channels: int
    count: int
    mixing: Tensor | None
    order: tuple[int, ...]
    factor: float

    @property
    def is_narrow(self) -> bool:
        """Whether there are fewer columns than channels."""
        return self.count < self.channels

    @classmethod
    def draw(
        cls, generator: np.random.Generator, channels: int, count: int, positions: int, most: int
    ) -> PatchSketch:
        """Draw random columns: orthonormal mixes, and an order of positions.

        The factor `sqrt(positions channels / m)` leaves inner products unbiased, since every
        position is equally likely for a column, and every direction for a mix.

        Args:
            generator: of both.
            channels, count: as above.
            positions: of the kernel.
            most: number of channels up to which they are not mixed.
        """
        order = tuple(generator.permutation(positions).tolist())
        mixing = None
        if channels > most:
            basis, upper = np.linalg.qr(generator.standard_normal((channels, count)))
            basis *= np.sign(np.diagonal(upper))
            mixing = torch.from_numpy(basis.astype(np.float32))
        return cls(channels, count, mixing, order, math.sqrt(positions * channels / count))

    @classmethod
    def at_all_positions(cls, directions: Tensor, positions: int) -> PatchSketch:
        """Combine every direction of channels with every position of the kernel.

        Args:
            directions: float32 of shape `(channels, d)`; columns are `(d, positions)`.
            positions: of the kernel.
        """
        mixing = directions.repeat_interleave(positions, dim=1)
        channels, count = mixing.shape
        return cls(channels, count, mixing, tuple(range(positions)), 1.0)

    def to(self, device: torch.device) -> PatchSketch:
        mixing = None if self.mixing is None else self.mixing.to(device)
        return PatchSketch(self.channels, self.count, mixing, self.order, self.factor)

    def sketch_input(self, x: Tensor, module: Any) -> Tensor:
        """Compute columns of all patches, without the factor.

        Args:
            x: the convolution's input, shape `(n, groups * channels, height, width)`.
            module: the convolution.

        Returns:
            Shape `(n, groups, m, h, w)`, with the height and width of the output.
        """
        if x.device.type == "cpu" and _keeps_size(module):
            return self._shift(self._mix(x, module).contiguous(), module)
        return self.index_input(x, module)

    def _shift(self, x: Tensor, module: Any) -> Tensor:
        """Compute columns of a convolution whose output is as large as its input.

        The values at one position of all patches are the image shifted by a constant offset in
        memory: one copy, and zeros where the copy wrapped around an edge.
        """
        result = torch.empty_like(x)
        height, width = x.shape[3:]
        size = height * width
        images, each = x.shape[0] * x.shape[1], self.count * size
        for position, columns in self._columns_by_position():
            kernel = divmod(position, module.kernel_size[1])
            down, right = (
                (at - wide // 2) * dilation
                for at, wide, dilation in zip(
                    kernel, module.kernel_size, module.dilation, strict=True
                )
            )
            first, many = columns.start * size, len(range(*columns.indices(self.count)))
            shape, steps = (images, many), (each, columns.step * size)
            if abs(down) >= height or abs(right) >= width:  # nothing but padding
                result.as_strided((*shape, size), (*steps, 1), first).zero_()
                continue
            offset = down * width + right
            inner, strides = (*shape, size - abs(offset)), (*steps, 1)
            seen = x.as_strided(inner, strides, x.storage_offset() + first + max(0, offset))
            result.as_strided(inner, strides, first + max(0, -offset)).copy_(seen)
            if down:
                edge = first + (size - down * width if down > 0 else 0)
                result.as_strided((*shape, abs(down) * width), strides, edge).zero_()
            if right:
                edge = first + (width - right if right > 0 else 0)
                beside = (*shape, height, abs(right))
                result.as_strided(beside, (*steps, width, 1), edge).zero_()
        return result

    def index_input(self, x: Tensor, module: Any) -> Tensor:
        """Do as `sketch_input` for any convolution, in few calls.

        On a CPU shifting takes a third of the time.
        """
        x = self._mix(x, module)
        seen = torch.empty(self.count, dtype=torch.int64)
        for position, columns in self._columns_by_position():
            seen[columns] = position
        wide = module.kernel_size[1]
        index = torch.stack([torch.arange(self.count), seen // wide, seen % wide]).to(x.device)
        return patch_views(x, module)[(slice(None), slice(None), *index)]

    def _mix(self, x: Tensor, module: Any) -> Tensor:
        """Compute the image that each column is taken from, `(n, groups, m, height, width)`."""
        x = x.unflatten(1, (module.groups, -1))
        if self.mixing is not None:
            # without [None] the channels would be copied
            mixed = self.mixing.T.to(x.dtype)[None] @ x.flatten(3)
            return mixed.unflatten(3, x.shape[3:])
        if self.count > self.channels:
            return x.repeat(1, 1, self.count // self.channels, 1, 1)
        return x

    def sketch_weight(self, matrix: Tensor) -> Tensor:
        """Compute columns of a weight's gradient, with the factor.

        Args:
            matrix: shape `(..., rows, channels, positions)`.

        Returns:
            Shape `(..., rows, m)`.
        """
        result = matrix.new_empty(*matrix.shape[:-2], self.count)
        channels = torch.arange(self.count) % self.channels
        for position, columns in self._columns_by_position():
            seen = matrix[..., position]
            if self.mixing is None:
                result[..., columns] = seen[..., channels[columns]]
            else:
                result[..., columns] = seen @ self.mixing[:, columns]
        return result * self.factor

    def _columns_by_position(self) -> Iterator[tuple[int, slice]]:
        """Yield positions of the kernel, and the columns that are taken there."""
        positions = len(self.order)
        width = self.count if self.mixing is not None else self.channels
        for turn, start in enumerate(range(0, self.count, width)):
            for i in range(min(positions, width)):
                yield self.order[(i + turn) % positions], slice(start + i, start + width, positions)


def _keeps_size(module: Any) -> bool:
    """Whether the output has the input's height and width, and padding is equal on both sides."""
    kernel, dilation = module.kernel_size, module.dilation
    middle = tuple(gap * (wide - 1) / 2 for wide, gap in zip(kernel, dilation, strict=True))
    return tuple(module.stride) == (1, 1) and tuple(module.padding) == middle


def patch_views(x: Tensor, module: Any) -> Tensor:
    """View the patches of a convolution's padded input.

    On a CPU `functional.unfold`, which copies them, takes several times as long.

    Args:
        x: shape `(n, groups, i, height, width)`.
        module: the convolution.

    Returns:
        Shape `(n, groups, i, *kernel, h, w)`.
    """
    (up, left), (tall, wide) = module.padding, module.kernel_size
    padded = functional.pad(x, (left, left, up, up)) if up or left else x
    for axis, size in ((3, tall), (4, wide)):
        step, dilation = module.stride[axis - 3], module.dilation[axis - 3]
        padded = padded.unfold(axis, (size - 1) * dilation + 1, step)[..., ::dilation]
    return padded.permute(0, 1, 2, 5, 6, 3, 4)
