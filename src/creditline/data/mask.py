"""A mask: how much each place of an image counts, from a gray image or a box."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
from PIL import Image

from creditline.data.decode import to_upright
from creditline.data.preparation import flatten
from creditline.errors import DataError
from creditline.fingerprint import of_bytes

COLOR = 24
"""Channels of a gray image differ by no more than this, out of 255: JPEG is not exact."""
AS_BOX = "Give LEFT, TOP, RIGHT, BOTTOM as fractions of width and height, such as 0, 0, 0.5, 1"


@dataclass(frozen=True)
class Mask:
    """Weights from 0 to 1 of an image's pixels.

    Attributes:
        shape: `(H, W)` of the image.
        packed: the weights, float32, compressed: few bytes where they are black and white.
    """

    shape: tuple[int, int]
    packed: bytes = field(repr=False)

    @classmethod
    def of(cls, weights: np.ndarray, name: str) -> Self:
        """A mask of these weights, shape `(H, W)`.

        Raises:
            DataError: if none is above 0.
        """
        if not (weights > 0).any():
            raise DataError(
                f"{name} is black all over, so no part of the image would count. Paint white "
                "what counts."
            )
        values = np.ascontiguousarray(weights, dtype=np.float32)
        return cls((values.shape[0], values.shape[1]), zlib.compress(values.tobytes()))

    @classmethod
    def from_gray(cls, gray: np.ndarray, shape: tuple[int, int], name: str) -> Self:
        """White counts, black does not; the lightest gray there is counts fully.

        Args:
            gray: not negative, shape `(h, w)`, of any size; resized by area.
            shape: `(H, W)` of the image.
            name: what to call it in an error.

        Raises:
            DataError: if it is black all over.
        """
        # Before resizing, so that masks which part an image between them still do so after it.
        return cls.of(by_area(gray / (gray.max() or 1.0), shape), name)

    @classmethod
    def from_box(cls, box: Sequence[float], shape: tuple[int, int]) -> Self:
        """Everything in a box; pixels on its edges count by the part that is inside.

        Args:
            box: left, top, right and bottom, as fractions of width and height.
            shape: `(H, W)` of the image.

        Raises:
            DataError: if it is no box, is empty, or lies outside the image.
        """
        try:
            left, top, right, bottom = map(float, box)
        except (TypeError, ValueError) as error:
            raise DataError(f"A region is a box of four numbers; got {box!r}. {AS_BOX}.") from error
        text = f"{left:g}, {top:g}, {right:g}, {bottom:g}"
        if not all(0 <= edge <= 1 for edge in (left, top, right, bottom)):
            height, width = shape
            raise DataError(
                f"The region {text} is not inside the image, whose edges are at 0 and 1. "
                f"{AS_BOX}; divide pixels by the size, here {width}x{height}."
            )
        if not (left < right and top < bottom):
            raise DataError(f"The region {text} is empty. {AS_BOX}.")
        rows, columns = _inside(top, bottom, shape[0]), _inside(left, right, shape[1])
        return cls.of(np.outer(rows, columns), f"The region {text}")

    @property
    def weights(self) -> np.ndarray:
        """float32 of shape `(H, W)`."""
        return np.frombuffer(zlib.decompress(self.packed), np.float32).reshape(self.shape)

    @cached_property
    def share(self) -> float:
        """Mean weight: the part of the image that counts, above 0 and at most 1."""
        return float(self.weights.mean(dtype=np.float64))

    @property
    def id(self) -> str:
        """Content hash of the weights."""
        return of_bytes(repr(self.shape).encode(), self.weights.tobytes())

    def on(self, shape: tuple[int, int]) -> np.ndarray:
        """Weights of the places of another grid, such as latents: by area, of mean exactly 1.

        Of a mask that is the same everywhere they are ones.

        Args:
            shape: `(h, w)` of the grid.

        Returns:
            float32 of that shape.
        """
        values = by_area(self.weights.astype(np.float64), shape)
        return (values / values.mean()).astype(np.float32)

    def __getstate__(self) -> dict[str, Any]:
        return {"shape": self.shape, "packed": self.packed}


def to_gray(image: Image.Image, name: str) -> Image.Image:
    """An image as a mask, mode L: upright, what is transparent black.

    Raises:
        DataError: if it has colors, or no 8-bit meaning.
    """
    rgb = flatten(to_upright(image, name), "black")
    values = np.asarray(rgb)
    if (values.max(2) - values.min(2)).max() > COLOR:
        raise DataError(
            f"{name} has colors, and a mask is gray: white counts, black does not. Is it the "
            "image itself?"
        )
    return rgb.convert("L")


def require_aspect(size: tuple[int, int], shape: tuple[int, int], name: str) -> None:
    """Refuse a mask that cannot be laid over an image.

    Args:
        size: `(w, h)` of the mask.
        shape: `(H, W)` of the image.
        name: of the mask.

    Raises:
        DataError: if its aspect is another, by more than rounding to whole pixels explains.
    """
    (w, h), (height, width) = size, shape
    if abs(w * height - h * width) >= min(width, height):
        raise DataError(
            f"{name} is {w}x{h}, and the image, as the model sees it, {width}x{height}: "
            "another aspect. Make the mask of the image's size, or larger or smaller alike."
        )


def by_area(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Means over the cells of another grid, each weighed by the area it shares with a cell.

    Linear, keeps the mean, and takes ones to ones exactly.

    Args:
        values: shape `(h, w)`.
        shape: of the result, float64.
    """
    (h, w), (height, width) = values.shape, shape
    if (h, w) == (height, width):
        return values.astype(np.float64)
    # In whole numbers until the division, so that nothing is rounded before it.
    return _overlap(h, height) @ values @ _overlap(w, width).T / (h * w)


def _overlap(n: int, m: int) -> np.ndarray:
    """Shared lengths of `n` old and `m` new cells of one side, in units of `1 / (n m)`."""
    old, new = np.arange(n) * m, np.arange(m)[:, None] * n
    return np.clip(np.minimum(old + m, new + n) - np.maximum(old, new), 0, None).astype(np.float64)


def _inside(low: float, high: float, n: int) -> np.ndarray:
    """How much of each of `n` pixels lies between two edges, given as fractions of the side."""
    start = np.arange(n)
    return np.clip(np.minimum(start + 1, high * n) - np.maximum(start, low * n), 0, None)
