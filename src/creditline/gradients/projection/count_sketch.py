"""Count sketch with equally full buckets: the cheapest projection of an explicit gradient."""

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
from creditline.gradients.projection.layout import Block
from creditline.gradients.projection.projector import Projector
from creditline.gradients.projection.two_sided import TwoSidedProjection, parameter_sizes

MANY = 4
"""Number of runs from which on they are summed separately before they are added."""


@dataclass(frozen=True, eq=False)
class SketchRuns:
    """Consecutive inputs that are added to consecutive sums, run by run.

    Attributes:
        sizes: number of inputs of each run.
        places: the first sum of each run.
        signs: of the inputs of each run.
        scratch: sums of one gradient, zero between calls.
        targets: the view of `scratch` that each run is added to.
    """

    sizes: list[int]
    places: list[int]
    signs: tuple[Tensor, ...]
    scratch: Tensor
    targets: tuple[Tensor, ...]


class CountSketch(Projector):
    """Signs, then sums (Charikar et al. 2002), with neighbors in neighboring buckets.

    Each input is added with a random sign to exactly one of the block's rows. A run is as many
    inputs as there are rows: each is added to another row, beginning at a random one and wrapping
    around. Two inputs share a row with probability `1 / rows`, or never within one run. The
    variance of a count sketch needs no more than that and independent signs. Rows are equally
    full, and the gradient is read once, in order, a run at a time. The order of additions depends
    on neither device nor batch.

    Every row has two sums, one for inputs before a run wraps around and one for those after. So a
    run is one addition.
    """

    streams = True

    def __init__(
        self, blocks: Sequence[Block], seed: int, two_sided: TwoSidedProjection | None = None
    ) -> None:
        super().__init__(blocks, seed, two_sided)
        self._shifts: dict[str, np.ndarray] = {}
        self._signs: dict[tuple[str, torch.device], Tensor] = {}
        self._scratch: dict[tuple[int, torch.device], Tensor] = {}
        self._runs_by_piece: dict[tuple[str, int, int, torch.device], SketchRuns] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out cached tensors: views in a copy would not share its sums."""
        return {**self.__dict__, "_shifts": {}, "_signs": {}, "_scratch": {}, "_runs_by_piece": {}}

    def sink(self, layers: Sequence[Layer], factors: Tensor) -> SketchAccumulator:
        return SketchAccumulator(self, layers, factors)

    def project_block(self, block: Block, pieces: Sequence[Tensor]) -> Tensor:
        sums, start = self.sums(block, len(pieces[0]), pieces[0].device), 0
        for piece in pieces:
            self.add(sums, block, start, piece)
            start += piece.shape[1]
        return self.rows(sums, block)

    def sums(self, block: Block, n: int, device: torch.device) -> Tensor:
        """Allocate sums of `n` gradients."""
        return torch.zeros(n, block.size if block.is_exact else 2 * block.rows, device=device)

    def add(self, sums: Tensor, block: Block, start: int, values: Tensor) -> None:
        """Add a piece of some gradients to their sums.

        Args:
            sums: shape `(b, places)`.
            block: the block that the piece belongs to.
            start: first input of the piece within the block.
            values: float32 of shape `(b, size)`.
        """
        if block.is_exact:
            sums[:, start : start + values.shape[1]] += values
            return
        runs = self._runs(block, start, values.shape[1], values.device)
        if values.device.type == "cpu" and len(runs.sizes) >= MANY:
            # One call per run would take three times as long on a CPU.
            for row, one in zip(sums, values, strict=True):
                torch._foreach_addcmul_(runs.targets, one.split(runs.sizes), runs.signs)
                row += runs.scratch
                runs.scratch.zero_()
            return
        pieces = zip(values.split(runs.sizes, dim=1), runs.places, runs.signs, strict=True)
        for piece, place, sign in pieces:
            sums.narrow(1, place, piece.shape[1]).addcmul_(piece, sign)

    def rows(self, sums: Tensor, block: Block) -> Tensor:
        """Return the total of each row, `(b, rows)`."""
        return sums if block.is_exact else sums[:, : block.rows] + sums[:, block.rows :]

    def _runs(self, block: Block, start: int, size: int, device: torch.device) -> SketchRuns:
        """Return how a piece of a block's inputs is added to its sums."""
        key = (block.name, start, size, device)
        if key not in self._runs_by_piece:
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
            self._runs_by_piece[key] = SketchRuns(sizes, places, signs, scratch, targets)
        return self._runs_by_piece[key]

    def _draw(self, block: Block, device: torch.device) -> None:
        """Draw the row at which each run begins, and the sign of each input."""
        if (block.name, device) in self._signs:
            return
        philox = np.random.Philox(key=key64("count-sketch", self.seed, block.name))
        generator = np.random.Generator(philox)
        self._shifts[block.name] = generator.integers(0, block.rows, -(-block.size // block.rows))
        signs = generator.integers(0, 2, block.size, dtype=np.int8).astype(np.float32) * 2 - 1
        self._signs[block.name, device] = torch.from_numpy(signs).to(device)


class SketchAccumulator:
    """Sketches of gradients that come parameter by parameter; none is ever complete in memory.

    Args:
        sketch: the projection.
        layers: of the gradients.
        factors: one for each gradient, float32 of shape `(n,)`, on the device of the gradients.
    """

    def __init__(self, sketch: CountSketch, layers: Sequence[Layer], factors: Tensor) -> None:
        self._sketch, self._factors = sketch, factors[:, None]
        blocks, n = sketch.blocks, len(factors)
        self._sums = {block: sketch.sums(block, n, factors.device) for block in blocks}
        self._places = dict(self._place_parameters(layers))

    def add(self, name: str, first: int, values: Tensor) -> None:
        block, start = self._places[name]
        rows = self._sums[block][first : first + len(values)]
        self._sketch.add(rows, block, start, values)

    def features(self) -> Tensor:
        rows = [self._sketch.rows(sums, block) for block, sums in self._sums.items()]
        return torch.cat(rows, dim=1) * self._factors

    def _place_parameters(self, layers: Sequence[Layer]) -> Iterator[tuple[str, tuple[Block, int]]]:
        """Yield each parameter's block, and its first input within it."""
        blocks, two_sided = self._sketch.blocks, self._sketch.two_sided
        weights = None if two_sided is None else two_sided.weights
        start = 0
        for index, layer in enumerate(layers):
            if len(blocks) > 1:
                start = 0
            for name, size in parameter_sizes(layer, weights):
                yield name, (blocks[index if len(blocks) > 1 else 0], start)
                start += size
