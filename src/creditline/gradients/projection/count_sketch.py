"""Count-sketch with equally full buckets: the cheap projection, and the default."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from creditline.fingerprint import key64
from creditline.gradients.projection.base import Block, Projector
from creditline.gradients.sides import Sides


class CountSketch(Projector):
    """Signs, a permutation, then sums of neighbours (Charikar et al. 2002; balanced as in DMin).

    Each input lands with a random sign in exactly one of the block's rows. Buckets come from a
    random permutation cut into equal runs rather than from independent draws, so no scatter with
    its device-dependent order of additions is needed. Cost: one pass over the gradient.
    """

    def __init__(self, blocks: Sequence[Block], seed: int, sides: Sides | None = None) -> None:
        super().__init__(blocks, seed, sides)
        self._tables: dict[tuple[str, torch.device], tuple[Tensor, Tensor]] = {}

    def project_block(self, block: Block, gradient: Tensor) -> Tensor:
        order, signs = self._table(block, gradient.device)
        mixed = gradient.index_select(1, order) * signs
        padded = torch.nn.functional.pad(mixed, (0, -block.size % block.rows))
        # Column-wise runs: row j sums elements j, j + rows, j + 2 rows, ...
        return padded.view(len(gradient), -1, block.rows).sum(1)

    def _table(self, block: Block, device: torch.device) -> tuple[Tensor, Tensor]:
        key = (block.name, device)
        if key not in self._tables:
            philox = np.random.Philox(key=key64("count-sketch", self.seed, block.name))
            generator = np.random.Generator(philox)
            order = generator.permutation(block.size)
            signs = generator.integers(0, 2, block.size, dtype=np.int8).astype(np.float32) * 2 - 1
            self._tables[key] = (
                torch.from_numpy(order).to(device),
                torch.from_numpy(signs).to(device),
            )
        return self._tables[key]
