"""Random projections of gradients: settings, the split of dimensions over layers, the interface.

Every projection `P` is scaled so that inner products are unbiased, `E<Pu, Pv> = <u, v>`, with
standard deviation about `sqrt((|u|^2 |v|^2 + <u, v>^2) / k)`. Entries are drawn with numpy from a
counter-based generator keyed by (seed, kind, layer name), so they are the same on every device.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from creditline.errors import unknown
from creditline.settings import require, setting

if TYPE_CHECKING:
    from torch import Tensor

    from creditline.gradients.parameters import Layer
    from creditline.gradients.sides import Sides

PROJECTIONS = ("two-sided", "count-sketch", "gaussian", "rademacher", "none")
LAYOUTS = ("layers", "joint")


@dataclass(frozen=True)
class Projection:
    """How a gradient of `d` elements becomes a feature of `k`.

    `two-sided` first sees each weight's gradient from at most `rank` directions of either side,
    then sketches what is left: it never needs the weight gradients themselves.

    Raises:
        SettingsError: on an unknown name or a non-positive dimension.
    """

    projection: Literal["two-sided", "count-sketch", "gaussian", "rademacher", "none"] = setting(
        "two-sided", "kind of random projection"
    )
    dim: int = setting(4096, "projection dimension k")
    projection_seed: int = setting(0, "seed of the projection")
    layout: Literal["layers", "joint"] = setting(
        "joint",
        "project all layers at once, or each by itself (less exact, keeps per-layer scores)",
    )
    rank: int = setting(64, "two-sided projection: directions of each side of a layer's weight")

    def __post_init__(self) -> None:
        if self.projection not in PROJECTIONS:
            raise unknown("projection", self.projection, PROJECTIONS)
        if self.layout not in LAYOUTS:
            raise unknown("projection layout", self.layout, LAYOUTS)
        require(self.dim >= 1, "dim must be at least 1", self.dim, "Try 4096.")
        require(self.rank >= 1, "rank must be at least 1", self.rank, "Try 64.")


@dataclass(frozen=True)
class Block:
    """One independently projected block: `rows` output dimensions from `size` inputs.

    The inputs are a layer's gradient, or what two sides keep of it.

    A block that keeps all its dimensions (`rows == size`) is copied, not projected.
    """

    name: str
    size: int
    start: int
    rows: int

    @property
    def exact(self) -> bool:
        return self.rows == self.size


class Projector(ABC):
    """A projection laid out over the layers of one model.

    Attributes:
        blocks: the boundaries of every block within the feature.
        dim: feature dimension k.
        sides: what of each layer's gradient is projected; None: all.
        batch: how many gradients to hand over at once for good speed.
    """

    batch: int = 1

    def __init__(self, blocks: Sequence[Block], seed: int, sides: Sides | None = None) -> None:
        self.blocks = tuple(blocks)
        self.dim = sum(block.rows for block in blocks)
        self.seed = seed
        self.sides = sides

    def project(self, gradients: Sequence[Tensor]) -> Tensor:
        """Project a batch.

        Args:
            gradients: one float32 tensor of shape `(b, d_l)` per layer, in layer order; if there
                are sides, what they keep of it.

        Returns:
            Features, float32 of shape `(b, k)`.
        """
        import torch

        if len(self.blocks) == 1 and len(gradients) > 1:
            gradients = [torch.cat(list(gradients), dim=1)]
        parts = [
            gradient if block.exact else self.project_block(block, gradient)
            for block, gradient in zip(self.blocks, gradients, strict=True)
        ]
        return torch.cat(parts, dim=1)

    @abstractmethod
    def project_block(self, block: Block, gradient: Tensor) -> Tensor:
        """Project one block, `(b, size)` to `(b, rows)`."""


def lay_out(
    settings: Projection, layers: Sequence[Layer], sides: Sides | None = None
) -> tuple[Block, ...]:
    """Split `k` dimensions over the layers.

    A layer gets dimensions in proportion to the square root of its size, at most what there is of
    it: the variance of a sketch falls with its rows, and small layers (norms, biases) carry more
    gradient per element than large ones.

    Raises:
        SettingsError: if `k` is not below the number of parameters, or below the layer count.
    """
    from creditline.gradients.sides import kept_sizes

    sizes = kept_sizes(layers, sides)
    total = sum(sizes)
    if settings.projection == "none":
        rows = sizes
    else:
        require(
            settings.dim < total,
            f"A projection dimension must be smaller than the {total:,} "
            + ("selected parameters" if sides is None else "numbers that its sides keep"),
            settings.dim,
            "Lower the dimension, or "
            + (
                "use projection 'none' to keep the whole gradient."
                if sides is None
                else "raise the rank."
            ),
        )
        if settings.layout == "joint":
            return (Block("*", total, 0, settings.dim),)
        require(
            settings.dim >= len(layers),
            f"The 'layers' layout needs at least one dimension for each of {len(layers)} layers",
            settings.dim,
            "Raise the dimension or use layout 'joint'.",
        )
        rows = _allocate(settings.dim, [layer.size for layer in layers], sizes)
    blocks, start = [], 0
    for layer, size, count in zip(layers, sizes, rows, strict=True):
        blocks.append(Block(layer.name, size, start, count))
        start += count
    return tuple(blocks)


def _allocate(dim: int, weights: Sequence[int], sizes: Sequence[int]) -> list[int]:
    """Whole rows, 1 to the size of each, near `c sqrt(weight)`, summing to `dim`."""

    def ideal_rows(c: float) -> list[float]:
        return [
            min(float(s), max(1.0, c * math.sqrt(w))) for w, s in zip(weights, sizes, strict=True)
        ]

    low, high = 0.0, float(dim)
    for _ in range(200):  # bisection on c; the sum grows with c
        middle = (low + high) / 2
        if sum(ideal_rows(middle)) < dim:
            low = middle
        else:
            high = middle
    ideal = ideal_rows(high)
    rows = [max(1, math.floor(x)) for x in ideal]
    # Largest remainders first; ties by position keep the split deterministic.
    order = sorted(range(len(sizes)), key=lambda i: (rows[i] - ideal[i], i))
    missing, position = dim - sum(rows), 0
    while missing:
        i = order[position % len(order)]
        if missing > 0 and rows[i] < sizes[i]:
            rows[i], missing = rows[i] + 1, missing - 1
        elif missing < 0 and rows[i] > 1:
            rows[i], missing = rows[i] - 1, missing + 1
        position += 1
    return rows
