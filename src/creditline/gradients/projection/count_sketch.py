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
        self._tables: dict[tuple[str, torch.device], tuple[np.ndarray, Tensor]] = {}

    def project_block(self, block: Block, pieces: Sequence[Tensor]) -> Tensor:
        shifts, signs = self._table(block, pieces[0].device)
        found = pieces[0].new_zeros(len(pieces[0]), block.rows)
        start = 0
        for piece in pieces:
            for here, row in _runs(start, start + piece.shape[1], block.rows, shifts):
                values = piece[:, here.start - start : here.stop - start]
                found[:, row : row + values.shape[1]].addcmul_(values, signs[here])
            start += piece.shape[1]
        return found

    def _table(self, block: Block, device: torch.device) -> tuple[np.ndarray, Tensor]:
        """The row at which each run begins, and the sign of each input."""
        key = (block.name, device)
        if key not in self._tables:
            philox = np.random.Philox(key=key64("count-sketch", self.seed, block.name))
            generator = np.random.Generator(philox)
            shifts = generator.integers(0, block.rows, -(-block.size // block.rows))
            signs = generator.integers(0, 2, block.size, dtype=np.int8).astype(np.float32) * 2 - 1
            self._tables[key] = shifts, torch.from_numpy(signs).to(device)
        return self._tables[key]


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
