"""Images that are already in memory: Pillow images, arrays and tensors, distinguished strictly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from PIL import Image

from creditline.data.decode import load_pixels
from creditline.errors import DataError, SettingsError


class TensorLike(Protocol):
    """A `torch.Tensor`, without importing torch."""

    def detach(self) -> Any: ...


InMemoryImage = Image.Image | np.ndarray | TensorLike
"""A Pillow image, an array or a tensor; see `ImageSet.from_images`."""

TOLERANCE = 1e-5
"""Rounding allowed outside the value range, as a share of the range."""


def to_pillow(images: Any, value_range: tuple[float, float]) -> list[Image.Image]:
    """Pillow images out of a sequence or batch of images; see `ImageSet.from_images`.

    Raises:
        DataError: for shapes, types and values that have no clear meaning as images.
        SettingsError: if `value_range` is not two increasing numbers.
    """
    low, high = value_range
    if not low < high:
        raise SettingsError(f"value_range is (black, white) with black < white; got {value_range}.")
    if isinstance(images, (Image.Image, str, bytes)) or getattr(images, "ndim", 4) == 3:
        raise DataError(
            "from_images takes a sequence of images, got a single one. Put it in a list."
        )
    return [_one(image, i, (low, high)) for i, image in enumerate(_sequence(images))]


def _sequence(images: Any) -> Sequence[Any]:
    try:
        return list(images)
    except TypeError as error:
        raise DataError(
            f"from_images takes a sequence of images; got {type(images).__name__}."
        ) from error


def _one(image: Any, i: int, value_range: tuple[float, float]) -> Image.Image:
    if isinstance(image, Image.Image):
        load_pixels(image, f"Image {i}")
        return image
    if isinstance(image, np.ndarray):
        array, layout = image, "[H, W], [H, W, 3] or [H, W, 4]"
        good = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    elif hasattr(image, "detach"):  # a tensor, without importing torch
        tensor, layout = image.detach().cpu(), "[3, H, W] or [1, H, W]"
        array = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
        good = array.ndim == 3 and array.shape[0] in (1, 3)
        if good:
            array = array[0] if array.shape[0] == 1 else array.transpose(1, 2, 0)
    else:
        raise DataError(
            f"Image {i} is of type {type(image).__name__}. "
            "Give Pillow images, numpy arrays or torch tensors, or load paths with load_images."
        )
    if not good or array.size == 0:
        raise DataError(f"Image {i} has shape {list(image.shape)}; expected {layout}.")
    return Image.fromarray(np.ascontiguousarray(_to_bytes(array, i, value_range)))


def _to_bytes(array: np.ndarray, i: int, value_range: tuple[float, float]) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f":
        raise DataError(
            f"Image {i} has values of type {array.dtype}; expected uint8 (0 to 255) or "
            "floating point."
        )
    low, high = value_range
    least, most = float(array.min()), float(array.max())
    slack = TOLERANCE * (high - low)
    if not (least >= low - slack and most <= high + slack):  # also catches NaN
        raise DataError(
            f"Image {i} has values from {least:.6g} to {most:.6g}, outside value_range="
            f"({low:g}, {high:g}). Clamp them, or pass the range they are in, such as "
            "value_range=(0, 1)."
        )
    scaled = (array.astype(np.float64) - low) * (255.0 / (high - low))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
