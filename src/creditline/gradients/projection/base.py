"""Projections of gradients: settings, the split of dimensions over layers, the interface.

Every random projection `P` is scaled so that inner products are unbiased, `E<Pu, Pv> = <u, v>`,
with standard deviation about `sqrt((|u|^2 |v|^2 + <u, v>^2) / k)`. Entries are drawn with numpy
from a counter-based generator keyed by (seed, kind, layer name), so they are the same on every
device.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from creditline.settings import require, setting, validate_choices

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from creditline.gradients.parameters import Layer
    from creditline.gradients.projection.two_sided import TwoSidedProjection

PROJECTIONS = ("two-sided", "principal", "count-sketch", "gaussian", "rademacher", "none")
SIDED = ("two-sided", "principal")
Budget = Literal["sqrt", "size", "variance"]


@dataclass(frozen=True)
class Projection:
    """How a gradient of `d` elements becomes a feature of `k`.

    `two-sided` first sees each weight's gradient from some `rank` directions of either side, of a
    convolution from columns (`TwoSidedProjection`), then sketches what is left: it never needs the
    weight gradients themselves. `principal` does so from directions that are learned from
    training images.

    With the layout `layers`, `budget` says what a layer's dimensions are in proportion to: the
    square root of its size, its size, or the variance of its gradient over images, likewise learnt.

    Raises:
        SettingsError: on an unknown name or a non-positive dimension.
    """

    projection: Literal[
        "two-sided", "principal", "count-sketch", "gaussian", "rademacher", "none"
    ] = setting("two-sided", "kind of projection")
    dim: int = setting(4096, "projection dimension k")
    projection_seed: int = setting(0, "seed of the projection")
    layout: Literal["layers", "joint"] = setting(
        "joint",
        "project all layers at once, or each by itself (less exact, keeps per-layer scores)",
    )
    budget: Budget = setting(
        "sqrt", "what the dimensions of a layer are in proportion to, where each is by itself"
    )
    rank: int = setting(64, "two-sided projections: directions of each side of a layer's weight")
    learn_from: int = setting(64, "training images that directions or variances are learnt from")

    def __post_init__(self) -> None:
        validate_choices(self)
        require(self.dim >= 1, "dim must be at least 1", self.dim, "Try 4096.")
        require(self.rank >= 1, "rank must be at least 1", self.rank, "Try 64.")
        few = "Directions and variances are learnt from at least 2 training images"
        require(self.learn_from >= 2, few, self.learn_from, "Try 64.")

    @property
    def sided(self) -> bool:
        """Whether weights are seen from a few directions of either side."""
        return self.projection in SIDED

    @property
    def by_variance(self) -> bool:
        """Whether layers' dimensions go by the variance of their gradients."""
        return self.projection != "none" and self.layout == "layers" and self.budget == "variance"

    @property
    def learns(self) -> bool:
        """Whether it depends on the training images."""
        return self.projection == "principal" or self.by_variance


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


class GradientSink(Protocol):
    """Where gradients are added up, parameter by parameter."""

    def add(self, name: str, first: int, values: Tensor) -> None:
        """Add to one parameter's part of neighboring gradients, which come in order.

        Args:
            name: of the parameter.
            first: the first of the gradients.
            values: float32 of shape `(rows, size)`.
        """


class FeatureSink(GradientSink, Protocol):
    """A gathering whose gradients are projected as they come."""

    def features(self) -> Tensor:
        """What was added up, projected, float32 of shape `(n, k)`."""


class Projector(ABC):
    """A projection laid out over the layers of one model.

    Attributes:
        blocks: the boundaries of every block within the feature.
        dim: feature dimension k.
        sides: what of each layer's gradient is projected; None: all.
        batch: how many gradients to hand over at once for good speed.
    """

    batch: int = 1

    def __init__(
        self, blocks: Sequence[Block], seed: int, sides: TwoSidedProjection | None = None
    ) -> None:
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

        joint = len(self.blocks) == 1
        pieces = [gradients] if joint else [[gradient] for gradient in gradients]
        parts = [
            torch.cat(list(of_block), dim=1) if block.exact else self.project_block(block, of_block)
            for block, of_block in zip(self.blocks, pieces, strict=True)
        ]
        return torch.cat(parts, dim=1)

    @abstractmethod
    def project_block(self, block: Block, pieces: Sequence[Tensor]) -> Tensor:
        """Project one block, given in pieces that make up `(b, size)`, to `(b, rows)`."""


class StreamingProjector(Projector):
    """A projection that takes gradients parameter by parameter, so that none is ever whole."""

    @abstractmethod
    def gathering(self, layers: Sequence[Layer], factors: Tensor) -> FeatureSink:
        """Room for features of gradients that come parameter by parameter.

        Args:
            layers: of the gradients.
            factors: by which each is multiplied in the end, float32 of shape `(n,)`, on their
                device.
        """


def dimension(settings: Projection, layers: Sequence[Layer]) -> int:
    """The feature dimension k.

    Raises:
        SettingsError: if `k` is not below the number of parameters, or below the layer count.
    """
    total = sum(projected_sizes(settings, layers))
    if settings.projection == "none":
        return total
    require(
        settings.dim < total,
        f"A projection dimension must be smaller than the {total:,} "
        + ("numbers that its sides keep" if settings.sided else "selected parameters"),
        settings.dim,
        "Lower the dimension, or "
        + (
            "raise the rank."
            if settings.sided
            else "use projection 'none' to keep the whole gradient."
        ),
    )
    if settings.layout == "layers":
        require(
            settings.dim >= len(layers),
            f"The 'layers' layout needs at least one dimension for each of {len(layers)} layers",
            settings.dim,
            "Raise the dimension or use layout 'joint'.",
        )
    return settings.dim


def lay_out(
    settings: Projection, layers: Sequence[Layer], variances: np.ndarray | None = None
) -> tuple[Block, ...]:
    """Split `k` dimensions over the layers.

    A layer gets dimensions in proportion to its budget, at least one and at most what there is of
    it. By the square root of its size small layers (norms, biases), which carry more gradient per
    element, are not lost beside large ones. The variance of a sketched inner product falls with its
    rows and grows with the square of the layer's own, so that rows in proportion to the variance
    of the layer's gradient are best: then all layers together do as well as one joint sketch.

    Args:
        settings: of the projection.
        layers: of the gradient.
        variances: of each layer's gradient, for a budget by variance.

    Raises:
        SettingsError: as `dimension`.
    """
    sizes, dim = projected_sizes(settings, layers), dimension(settings, layers)
    if settings.projection == "none":
        rows = sizes
    elif settings.layout == "joint":
        return (Block("*", sum(sizes), 0, dim),)
    else:
        rows = _allocate(dim, _weights(settings, layers, variances), sizes)
    blocks, start = [], 0
    for layer, size, count in zip(layers, sizes, rows, strict=True):
        blocks.append(Block(layer.name, size, start, count))
        start += count
    return tuple(blocks)


def projected_sizes(settings: Projection, layers: Sequence[Layer]) -> list[int]:
    """Numbers of each layer's gradient that are projected."""
    from creditline.gradients.projection.two_sided import PrincipalProjection, TwoSidedProjection

    if not settings.sided:
        return [layer.size for layer in layers]
    kind = PrincipalProjection if settings.projection == "principal" else TwoSidedProjection
    weights = kind.kept(layers, settings.rank)
    return [sum(weights[name].size for name in layer.parameters) for layer in layers]


def _weights(
    settings: Projection, layers: Sequence[Layer], variances: np.ndarray | None
) -> list[float]:
    if settings.budget == "variance":
        require(
            variances is not None,
            "Dimensions by variance are laid out by variances that were learnt",
            variances,
            "Learn from training images first (GradientExtractor.learn).",
        )
        return [] if variances is None else [float(v) for v in variances]
    sizes = [layer.size for layer in layers]
    return [math.sqrt(size) if settings.budget == "sqrt" else float(size) for size in sizes]


def _allocate(dim: int, weights: Sequence[float], sizes: Sequence[int]) -> list[int]:
    """Whole rows, 1 to the size of each, near `c weight`, summing to `dim`."""
    largest = max(weights) or 1.0
    floor = 1e-12 * largest  # a layer without any weight still takes what all others leave

    def ideal_rows(c: float) -> list[float]:
        return [
            min(float(s), max(1.0, c * max(w, floor) / largest))
            for w, s in zip(weights, sizes, strict=True)
        ]

    low, high = 0.0, max(sizes) / 1e-12
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
