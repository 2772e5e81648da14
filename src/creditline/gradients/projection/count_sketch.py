"""Count-sketch with equally full buckets: the cheap projection, and the default."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from creditline.fingerprint import key64
from creditline.gradients.projection.base import Block, Projector
from creditline.gradients.sides import Sides

RUN = 1 << 16
"""Numbers at once on a CPU: few calls, and all of it in its cache."""


class CountSketch(Projector):
    """Signs, a permutation, then sums of neighbours (Charikar et al. 2002; balanced as in DMin).

    Each input lands with a random sign in exactly one of the block's rows. Buckets come from a
    random permutation cut into equal runs rather than from independent draws, so that they are
    equally full and can be summed without a scatter, whose order of additions a GPU does not fix.
    On a CPU it does not change, and to read the gradient in order is many times faster than to
    gather it from all over memory. Cost: one pass over the gradient.
    """

    def __init__(self, blocks: Sequence[Block], seed: int, sides: Sides | None = None) -> None:
        super().__init__(blocks, seed, sides)
        self._tables: dict[tuple[str, torch.device], tuple[Tensor, Tensor]] = {}

    def project_block(self, block: Block, pieces: Sequence[Tensor]) -> Tensor:
        device = pieces[0].device
        places, signs = self._table(block, device)
        if device.type != "cpu":
            mixed = torch.cat(list(pieces), dim=1).index_select(1, places) * signs
            padded = torch.nn.functional.pad(mixed, (0, -block.size % block.rows))
            # Column-wise runs: row j sums elements j, j + rows, j + 2 rows, ...
            return padded.unflatten(1, (-1, block.rows)).sum(1)
        found = torch.zeros(len(pieces[0]), block.rows)
        start = 0
        for run in _runs(pieces):
            here = slice(start, start + sum(piece.shape[1] for piece in run))
            for row, values in zip(found, zip(*run, strict=True), strict=True):
                row.index_add_(0, places[here], torch.cat(values).mul_(signs[here]))
            start = here.stop
        return found

    def _table(self, block: Block, device: torch.device) -> tuple[Tensor, Tensor]:
        """On a CPU the row and sign of each input, elsewhere each place of the permutation's."""
        key = (block.name, device)
        if key not in self._tables:
            philox = np.random.Philox(key=key64("count-sketch", self.seed, block.name))
            generator = np.random.Generator(philox)
            order = generator.permutation(block.size)
            signs = generator.integers(0, 2, block.size, dtype=np.int8).astype(np.float32) * 2 - 1
            if device.type == "cpu":
                inverse = np.argsort(order)
                order, signs = (inverse % block.rows).astype(np.int32), signs[inverse]
            self._tables[key] = (
                torch.from_numpy(order).to(device),
                torch.from_numpy(signs).to(device),
            )
        return self._tables[key]


def _runs(pieces: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Neighbouring pieces, at least `RUN` numbers of a row together."""
    run: list[Tensor] = []
    for piece in pieces:
        run.append(piece)
        if sum(one.shape[1] for one in run) >= RUN:
            yield run
            run = []
    if run:
        yield run
