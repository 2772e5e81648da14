"""A random rotation of features: signs, then Hadamard transforms (Ailon & Chazelle, 2006).

Inner products stay. The numbers of a rotated feature are alike and nearly normally distributed,
which codes of few bits need.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from creditline.fingerprint import key64


class RandomRotation:
    """Rotates features in blocks of the largest power of two that divides their dimension.

    Args:
        dim: feature dimension k.
        seed: of the signs.
    """

    def __init__(self, dim: int, seed: int) -> None:
        self.dim = dim
        self.block = dim & -dim
        generator = np.random.Generator(np.random.Philox(key=key64("rotation", seed, dim)))
        self._signs = generator.integers(0, 2, dim, dtype=np.int8).astype(np.float32) * 2 - 1

    def __call__(self, features: Tensor) -> Tensor:
        """Rotate features.

        Args:
            features: float32 of shape `(n, k)`.

        Returns:
            Another tensor of this shape.
        """
        return self._transform(features * torch.from_numpy(self._signs).to(features.device))

    def inverse(self, features: Tensor) -> Tensor:
        """Rotate features back; arguments as of a call."""
        return self._transform(features) * torch.from_numpy(self._signs).to(features.device)

    def _transform(self, x: Tensor) -> Tensor:
        """Apply Hadamard transforms, which are their own inverses."""
        rows, width = len(x), 1
        while width < self.block:
            pairs = x.view(rows, -1, 2, width)
            first, second = pairs[:, :, 0], pairs[:, :, 1]
            x = torch.stack([first + second, first - second], dim=2).view(rows, -1)
            width *= 2
        return x / math.sqrt(self.block)
