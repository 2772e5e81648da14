"""Count-sketch with equally full buckets: the cheap projection, and the default."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from creditline.fingerprint import key64
from creditline.gradients.parameters import Layer
from creditline.gradients.projection.base import Block, StreamingProjector
from creditline.gradients.projection.two_sided import TwoSidedProjection, kept_parts

MANY = 4
"""Runs of a piece from which on they are added up apart, and then to their sums."""


@dataclass(frozen=True, eq=False)
class SketchRuns:
    """Inputs of a piece that land in neighboring places, run by run.

    Attributes:
        sizes: inputs of each.
        places: the first place of each.
        signs: of the inputs.
        scratch: sums of one gradient, zero between calls.
        targets: the places of each run in them.
    """

    sizes: list[int]
    places: list[int]
    signs: tuple[Tensor, ...]
    scratch: Tensor
    targets: tuple[Tensor, ...]


class CountSketch(StreamingProjector):
    """Signs, then sums (Charikar et al. 2002), with neighbors in neighboring buckets.

    Each input lands with a random sign in exactly one of the block's rows. As many inputs as there
    are rows, a run, land in one row each, beginning at a random row and going around. Two inputs
    share a row with probability `1 / rows`, or never if they are of one run; that and independent
    signs are all that the variance of a count-sketch rests on. Rows are equally full, and the
    gradient is read once, in order, a run at a time; which order additions have does not depend on
    the device or the batch.

    Sums have two places for each row, one for the inputs before a run goes around and one for those
    after: so a run is one addition.
    """

    def __init__(
        self, blocks: Sequence[Block], seed: int, sides: TwoSidedProjection | None = None
    ) -> None:
        super().__init__(blocks, seed, sides)
        self._shifts: dict[str, np.ndarray] = {}
        self._signs: dict[tuple[str, torch.device], Tensor] = {}
        self._scratch: dict[tuple[int, torch.device], Tensor] = {}
        self._known: dict[tuple[str, int, int, torch.device], SketchRuns] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without what is drawn and kept: views in a copy would not be of its sums."""
        return {**self.__dict__, "_shifts": {}, "_signs": {}, "_scratch": {}, "_known": {}}

    def gathering(self, layers: Sequence[Layer], factors: Tensor) -> SketchAccumulator:
        return SketchAccumulator(self, layers, factors)

    def project_block(self, block: Block, pieces: Sequence[Tensor]) -> Tensor:
        sums, start = self.sums(block, len(pieces[0]), pieces[0].device), 0
        for piece in pieces:
            self.add(sums, block, start, piece)
            start += piece.shape[1]
        return self.rows(sums, block)

    def sums(self, block: Block, n: int, device: torch.device) -> Tensor:
        """Empty sums of `n` gradients."""
        return torch.zeros(n, block.size if block.exact else 2 * block.rows, device=device)

    def add(self, sums: Tensor, block: Block, start: int, values: Tensor) -> None:
        """Add a piece of gradients to their sums.

        Args:
            sums: shape `(b, places)`.
            block: that it is a piece of.
            start: of the piece within the block.
            values: float32 of shape `(b, size)`.
        """
        if block.exact:
            sums[:, start : start + values.shape[1]] += values
            return
        runs = self._runs(block, start, values.shape[1], values.device)
        if values.device.type == "cpu" and len(runs.sizes) >= MANY:
            # Called one by one, runs would take three times as long; a GPU would add them at once.
            for row, one in zip(sums, values, strict=True):
                torch._foreach_addcmul_(runs.targets, one.split(runs.sizes), runs.signs)
                row += runs.scratch
                runs.scratch.zero_()
            return
        parts = zip(values.split(runs.sizes, dim=1), runs.places, runs.signs, strict=True)
        for part, place, sign in parts:
            sums.narrow(1, place, part.shape[1]).addcmul_(part, sign)

    def rows(self, sums: Tensor, block: Block) -> Tensor:
        """The sums of each row, `(b, rows)`."""
        return sums if block.exact else sums[:, : block.rows] + sums[:, block.rows :]

    def _runs(self, block: Block, start: int, size: int, device: torch.device) -> SketchRuns:
        """How a piece of a block's inputs lands in its sums."""
        key = (block.name, start, size, device)
        if key not in self._known:
            self._draw(block, device)
            inner = range(-(-(start + 1) // block.rows) * block.rows, start + size, block.rows)
            cuts = [start, *inner, start + size]
            shifts = self._shifts[block.name]
            places = [a % block.rows + int(shifts[a // block.rows]) for a in cuts[:-1]]
            sizes = [b - a for a, b in pairwise(cuts)]
            signs = self._signs[block.name, device][start : start + size].split(sizes)
            scratch = self._scratch.setdefault(
                (block.rows, device), torch.zeros(2 * block.rows, device=device)
            )
            targets = tuple(map(partial(scratch.narrow, 0), places, sizes))
            self._known[key] = SketchRuns(sizes, places, signs, scratch, targets)
        return self._known[key]

    def _draw(self, block: Block, device: torch.device) -> None:
        """The row at which each run begins, and the sign of each input."""
        if (block.name, device) in self._signs:
            return
        philox = np.random.Philox(key=key64("count-sketch", self.seed, block.name))
        generator = np.random.Generator(philox)
        self._shifts[block.name] = generator.integers(0, block.rows, -(-block.size // block.rows))
        signs = generator.integers(0, 2, block.size, dtype=np.int8).astype(np.float32) * 2 - 1
        self._signs[block.name, device] = torch.from_numpy(signs).to(device)


class SketchAccumulator:
    """Sketches of gradients that come parameter by parameter, so that no gradient is ever whole.

    Args:
        sketch: how they are projected.
        layers: of the gradients.
        factors: one for each gradient, float32 of shape `(n,)`, on the device of the gradients.
    """

    def __init__(self, sketch: CountSketch, layers: Sequence[Layer], factors: Tensor) -> None:
        self._sketch, self._factors = sketch, factors[:, None]
        blocks, n = sketch.blocks, len(factors)
        self._sums = {block: sketch.sums(block, n, factors.device) for block in blocks}
        self._places = dict(self._placed(layers))

    def add(self, name: str, first: int, values: Tensor) -> None:
        block, start = self._places[name]
        rows = self._sums[block][first : first + len(values)]
        self._sketch.add(rows, block, start, values)

    def features(self) -> Tensor:
        parts = [self._sketch.rows(sums, block) for block, sums in self._sums.items()]
        return torch.cat(parts, dim=1) * self._factors

    def _placed(self, layers: Sequence[Layer]) -> Iterator[tuple[str, tuple[Block, int]]]:
        """Each parameter's block, and where it begins in it."""
        blocks = self._sketch.blocks
        start = 0
        for index, layer in enumerate(layers):
            if len(blocks) > 1:
                start = 0
            for name, size in kept_parts(layer, self._sketch.sides):
                yield name, (blocks[index if len(blocks) > 1 else 0], start)
                start += size
