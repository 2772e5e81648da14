"""Dense Gaussian and Rademacher projections, generated in chunks of rows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from creditline.fingerprint import key64
from creditline.gradients.projection.layout import Block
from creditline.gradients.projection.projector import Projector
from creditline.gradients.projection.two_sided import TwoSidedProjection

CACHE_BYTES = 1 << 30
CHUNK_ELEMENTS = 1 << 22


class Dense(Projector):
    """Independent entries with variance `1/rows`: the expensive reference.

    Row `i` of a block has a random stream of its own. So the matrix does not depend on the chunk
    size and need not fit in memory. Matrices up to 1 GiB in total are cached between calls.

    Class attributes:
        kind: keys the random stream.
    """

    kind: ClassVar[str]
    batch = 16

    def __init__(
        self, blocks: Sequence[Block], seed: int, two_sided: TwoSidedProjection | None = None
    ) -> None:
        super().__init__(blocks, seed, two_sided)
        elements = sum(b.rows * b.size for b in blocks if not b.is_exact)
        self._is_cached = 4 * elements <= CACHE_BYTES
        self._cache: dict[tuple[str, int, torch.device], Tensor] = {}

    @abstractmethod
    def _draw(self, generator: np.random.Generator, size: int) -> np.ndarray:
        """Draw one row of entries with unit variance, float32."""

    def project_block(self, block: Block, pieces: Sequence[Tensor]) -> Tensor:
        gradient = torch.cat(list(pieces), dim=1)
        step = max(1, CHUNK_ELEMENTS // block.size)
        chunks = [
            gradient @ self._rows(block, start, min(start + step, block.rows), gradient.device).T
            for start in range(0, block.rows, step)
        ]
        return torch.cat(chunks, dim=1)

    def _rows(self, block: Block, start: int, stop: int, device: torch.device) -> Tensor:
        key = (block.name, start, device)
        if key in self._cache:
            return self._cache[key]
        stream = key64(self.kind, self.seed, block.name)
        rows = np.empty((stop - start, block.size), dtype=np.float32)
        for i in range(start, stop):
            counter = np.array([0, 0, 0, i], dtype=np.uint64)
            generator = np.random.Generator(np.random.Philox(key=stream, counter=counter))
            rows[i - start] = self._draw(generator, block.size)
        rows *= np.float32(block.rows**-0.5)
        matrix = torch.from_numpy(rows).to(device)
        if self._is_cached:
            self._cache[key] = matrix
        return matrix


class Gaussian(Dense):
    """Entries from N(0, 1/rows): TRAK's projection, scaled to unbiased inner products."""

    kind = "gaussian"

    def _draw(self, generator: np.random.Generator, size: int) -> np.ndarray:
        return generator.standard_normal(size, dtype=np.float32)


class Rademacher(Dense):
    """Entries `+-1/sqrt(rows)`."""

    kind = "rademacher"

    def _draw(self, generator: np.random.Generator, size: int) -> np.ndarray:
        bits = np.unpackbits(np.frombuffer(generator.bytes(size // 8 + 1), np.uint8), count=size)
        return bits.astype(np.float32) * 2 - 1
