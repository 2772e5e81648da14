"""Which evaluations of a pass belong to which gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class EvaluationSegments:
    """Consecutive evaluations of a pass, one segment for each gradient.

    Attributes:
        lengths: number of evaluations of each gradient.
    """

    lengths: tuple[int, ...]

    def sum(self, rows: Tensor) -> Tensor:
        """Sum over each segment.

        Args:
            rows: shape `(n * f, ...)`, n evaluations with f rows each.

        Returns:
            Shape `(segments, ...)`.
        """
        return self.reduce(lambda x: x.sum(1), rows)

    def outer(self, g: Tensor, a: Tensor) -> Tensor:
        """Sum outer products over positions and each segment.

        Args:
            g, a: shape `(n * f, positions, o)` and `(n * f, positions, i)`.

        Returns:
            Shape `(segments, o, i)`.
        """
        return self.reduce(lambda g, a: g.flatten(1, 2).mT @ a.flatten(1, 2), g, a)

    @cached_property
    def _even(self) -> bool:
        return len(set(self.lengths)) == 1

    def reduce(self, function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
        """Apply a function that maps `(s, l, ...)` to `(s, ...)` to the rows of each segment."""
        n, length = sum(self.lengths), self.lengths[0]
        rows = len(tensors[0]) // n
        if self._even:
            return function(*(x.unflatten(0, (-1, length * rows)) for x in tensors))
        split = [x.split([length * rows for length in self.lengths]) for x in tensors]
        parts = [function(*(x[None] for x in group)) for group in zip(*split, strict=True)]
        return torch.cat(parts)
