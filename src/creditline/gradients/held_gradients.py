"""Gradients of queries, held while those of training images stream by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from creditline import checksum

ROWS = 64
"""Held rows that are unpacked at once."""


@dataclass(frozen=True, eq=False)
class HeldGradients:
    """Gradients of `m` queries, packed layer by layer.

    Attributes:
        layers: of shape `(m, d_l)` each: float32, float16, or int8.
        scales: factors of each layer's rows, float32 of shape `(m, 1)`.
    """

    layers: tuple[Tensor, ...]
    scales: tuple[Tensor, ...]

    @classmethod
    def pack(cls, layers: Sequence[Tensor], bits: int = 32) -> HeldGradients:
        """Pack gradients; those of 8 bits are rounded to 255 levels of each row's largest number.

        Args:
            layers: float32 of shape `(m, d_l)` each.
            bits: of each number, 32, 16 or 8.
        """
        packed, scales = [], []
        for layer in layers:
            largest = layer.abs().amax(1, keepdim=True)
            scale = torch.where(largest > 0, largest, torch.ones_like(largest))
            if bits == 8:
                packed.append((layer / scale * 127).round().to(torch.int8))
                scales.append(scale / 127)
            else:
                packed.append((layer / scale).to(torch.float16 if bits == 16 else torch.float32))
                scales.append(scale)
        return cls(tuple(packed), tuple(scales))

    def __len__(self) -> int:
        return len(self.scales[0])

    @property
    def digest(self) -> str:
        """Checksum of all numbers."""
        parts = [x.contiguous().cpu().numpy() for x in (*self.layers, *self.scales)]
        return checksum.of_bytes(*(np.ascontiguousarray(part).data for part in parts))

    def products(self, gradients: Sequence[Tensor]) -> np.ndarray:
        """Compute inner products with other gradients, float64 of shape `(m, b)`.

        Args:
            gradients: float32 of shape `(b, d_l)` per layer.
        """
        total = torch.zeros(len(self), len(gradients[0]), dtype=torch.float64)
        for layer, scale, other in zip(self.layers, self.scales, gradients, strict=True):
            for start in range(0, len(self), ROWS):
                part = slice(start, start + ROWS)
                rows = layer[part].to(other.device).float() @ other.mT
                total[part] += rows.double().cpu() * scale[part].double()
        return total.numpy()
