"""Count-sketch with equally full buckets: the cheap projection, and the default."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from creditline.fingerprint import key64
from creditline.gradients.projection.base import Block, Projector
from creditline.gradients.sides import Sides

Stretches = tuple[list[int], list[int], tuple[Tensor, ...]]
"""Sizes of neighbouring inputs that land in neighbouring rows, the first row of each, and signs."""


class CountSketch(Projector):
    """Signs, then sums (Charikar et al. 2002), with neighbours in neighbouring buckets.

    Each input lands with a random sign in exactly one of the block's rows. As many inputs as there
    are rows, a run, land in one row each, beginning at a random row and going around. Two inputs
    share a row with probability `1 / rows`, or never if they are of one run; that and independent
    signs are all that the variance of a count-sketch rests on. Rows are equally full, and the
    gradient is read once, in order, a run at a time; which order additions have does not depend on
    the device or the batch.
    """

    def __init__(self, blocks: Sequence[Block], seed: int, sides: Sides | None = None) -> None:
        super().__init__(blocks, seed, sides)
        self._shifts: dict[str, np.ndarray] = {}
        self._signs: dict[tuple[str, torch.device], Tensor] = {}
        self._stretches: dict[tuple[str, int, int, torch.device], Stretches] = {}

    def project_block(self, block: Block, pieces: Sequence[Tensor]) -> Tensor:
        found = pieces[0].new_zeros(len(pieces[0]), block.rows)
        start = 0
        for piece in pieces:
            sizes, rows, signs = self._stretched(block, start, piece.shape[1], piece.device)
            # Thousands of short calls: views are made as many at once as there are.
            for values, row, sign in zip(piece.split(sizes, dim=1), rows, signs, strict=True):
                found.narrow(1, row, values.shape[1]).addcmul_(values, sign)
            start += piece.shape[1]
        return found

    def _stretched(self, block: Block, start: int, size: int, device: torch.device) -> Stretches:
        """How a piece of a block's inputs lands in its rows."""
        key = (block.name, start, size, device)
        if key not in self._stretches:
            self._draw(block, device)
            runs = list(_runs(start, start + size, block.rows, self._shifts[block.name]))
            sizes = [here.stop - here.start for here, _ in runs]
            signs = self._signs[block.name, device][start : start + size].split(sizes)
            self._stretches[key] = sizes, [row for _, row in runs], signs
        return self._stretches[key]

    def _draw(self, block: Block, device: torch.device) -> None:
        """The row at which each run begins, and the sign of each input."""
        if (block.name, device) in self._signs:
            return
        philox = np.random.Philox(key=key64("count-sketch", self.seed, block.name))
        generator = np.random.Generator(philox)
        self._shifts[block.name] = generator.integers(0, block.rows, -(-block.size // block.rows))
        signs = generator.integers(0, 2, block.size, dtype=np.int8).astype(np.float32) * 2 - 1
        self._signs[block.name, device] = torch.from_numpy(signs).to(device)


def _runs(start: int, stop: int, rows: int, shifts: np.ndarray) -> Iterator[tuple[slice, int]]:
    """Inputs from `start` to `stop` in stretches that land in neighbouring rows, and the first.

    A stretch ends where its run does, and where its rows go around.
    """
    first, last = start // rows, -(-stop // rows)
    cuts = [
        cut for run in range(first, last) for cut in (run * rows, (run + 1) * rows - shifts[run])
    ]
    inner = sorted({int(cut) for cut in cuts if start < cut < stop})
    for a, b in pairwise([start, *inner, stop]):
        if a < b:
            yield slice(a, b), int((a + shifts[a // rows]) % rows)
