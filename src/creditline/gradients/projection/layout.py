"""How the dimensions of a feature are split over the layers of a gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from creditline.settings import require

if TYPE_CHECKING:
    import numpy as np

    from creditline.gradients.parameters import Layer
    from creditline.gradients.projection.settings import Projection


@dataclass(frozen=True)
class Block:
    """One independently projected block of a feature.

    Attributes:
        name: of the layer, or `*` for all layers.
        size: dimension of the input: a layer's gradient, or its two-sided projection.
        start: first of its dimensions in the feature.
        rows: output dimensions. With `rows == size` the input is copied, not projected.
    """

    name: str
    size: int
    start: int
    rows: int

    @property
    def is_exact(self) -> bool:
        """Whether the input is copied."""
        return self.rows == self.size


def feature_dim(settings: Projection, layers: Sequence[Layer]) -> int:
    """Return the feature dimension k.

    Args:
        settings: of the projection.
        layers: of the gradient.

    Raises:
        SettingsError: if `k` is not below the size of the projected vector, or below the number of
            layers where each has dimensions of its own.
    """
    projector = settings.projector
    total = sum(projector.input_sizes(settings, layers))
    if projector.is_exact:
        return total
    has_rank = "rank" in projector.settings
    require(
        settings.dim < total,
        f"A projection dimension must be smaller than the {total:,} "
        + ("coordinates that the rank leaves" if has_rank else "selected parameters"),
        settings.dim,
        "Lower the dimension (--dim), or "
        + ("raise the rank." if has_rank else "use projection 'none' for explicit gradients."),
    )
    if settings.is_by_layer:
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

    A layer gets dimensions in proportion to its budget, at least one and at most its size. A budget
    by the square root of the size favors small layers (norms, biases), which carry more gradient
    per element. The variance of a sketched inner product falls with the dimensions of a layer and
    grows with the square of the layer's own variance. So a budget by variance is optimal: all
    layers together are then as exact as one joint sketch.

    Args:
        settings: of the projection.
        layers: of the gradient.
        variances: of each layer's gradient, for a budget by variance.

    Raises:
        SettingsError: as `feature_dim`.
    """
    sizes, dim = settings.projector.input_sizes(settings, layers), feature_dim(settings, layers)
    if settings.projector.is_exact:
        rows = sizes
    elif not settings.is_by_layer:
        return (Block("*", sum(sizes), 0, dim),)
    else:
        rows = _allocate(dim, _weights(settings, layers, variances), sizes)
    blocks, start = [], 0
    for layer, size, count in zip(layers, sizes, rows, strict=True):
        blocks.append(Block(layer.name, size, start, count))
        start += count
    return tuple(blocks)


def _weights(
    settings: Projection, layers: Sequence[Layer], variances: np.ndarray | None
) -> list[float]:
    if settings.is_by_variance:
        require(
            variances is not None,
            "A layout by variance depends on the training images and is not fitted",
            variances,
            "Fit it to training images first (GradientExtractor.fit).",
        )
        return [] if variances is None else [float(v) for v in variances]
    sizes = [layer.size for layer in layers]
    return [math.sqrt(size) if settings.budget == "sqrt" else float(size) for size in sizes]


def _allocate(dim: int, weights: Sequence[float], sizes: Sequence[int]) -> list[int]:
    """Choose integers from 1 to the size of each, near `c weight`, summing to `dim`."""
    largest = max(weights) or 1.0
    floor = 1e-12 * largest  # layers without weight take what all others leave

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
