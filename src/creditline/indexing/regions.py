"""Regions of query images: boxes and gray images, as masks."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from creditline.data.decode import decode
from creditline.data.files import ImageFiles, open_source
from creditline.data.image_set import ImageSet
from creditline.data.mask import Mask, require_aspect, to_gray
from creditline.errors import DataError

KINDS = (
    "a box (left, top, right, bottom as fractions), or a gray image: a path, a Pillow image or "
    "an array [H, W]"
)


RegionPart = str | Path | Image.Image | np.ndarray | Sequence[float]
RegionSource = RegionPart | Sequence[RegionPart | None]
"""A box or a mask, for all query images or one for each; see `masked`."""


def add_masks(images: ImageSet, region: Any) -> ImageSet:
    """Add masks to images, of which only a region is traced.

    Args:
        images: prepared query images.
        region: one for all or a list of one each. A box is four numbers, left, top, right and
            bottom, as fractions of width and height. A mask is a gray image, white where the image
            is traced, of the query image's aspect: a path, a Pillow image, or an array [H, W] of
            booleans or of numbers from 0. In a list None stands for a complete image.

    Raises:
        DataError: if a region is of another type, empty, outside the image or of another aspect;
            if the number of regions is not that of the images; if the images have masks already.
    """
    if images.masks is not None:
        raise DataError("These query images come with masks. Give them or a region, not both.")
    each = [region] if _is_one(region) else list(region)
    shape = (images.shape[1], images.shape[2])
    masks = [
        None if one is None else _mask(one, shape, f"Region {i}" if len(each) > 1 else "The region")
        for i, one in enumerate(each, start=1)
    ]
    if len(masks) not in (1, len(images)):
        raise DataError(
            f"{len(images)} query images need one region, or {len(images)}; got {len(masks)}."
        )
    return images.with_masks(masks * len(images) if len(masks) == 1 else masks)


def _is_one(region: Any) -> bool:
    """Whether this is one region and not a list of them."""
    if isinstance(region, Sequence) and not isinstance(region, (str, bytes)):
        return any(isinstance(part, Real) for part in region)
    return True


def _mask(region: Any, shape: tuple[int, int], name: str) -> Mask:
    if isinstance(region, (str, Path)):
        place = open_source(region)
        if not isinstance(place, ImageFiles):
            raise DataError(f"The mask {region} is no image file. A region is {KINDS}.")
        region, name = decode(place.read(str(place.paths[0])), str(region)), f"The mask {region}"
    if isinstance(region, Image.Image):
        gray = np.asarray(to_gray(region, name)).astype(np.float64)
    elif isinstance(region, Sequence) or getattr(region, "ndim", 0) == 1:
        return Mask.from_box(region, shape)
    else:
        gray = _gray(region, name)
    require_aspect((gray.shape[1], gray.shape[0]), shape, name)
    return Mask.from_gray(gray, shape, name)


def _gray(region: Any, name: str) -> np.ndarray:
    """An array or tensor as numbers from 0."""
    array = np.asarray(region.detach().cpu() if hasattr(region, "detach") else region)
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "bufi":
        description = (
            f"{type(region).__name__} of shape {array.shape}" if array.ndim else repr(region)
        )
        raise DataError(f"{name} is of another type: {description}. A region is {KINDS}.")
    gray = array.astype(np.float64)
    if not (np.isfinite(gray).all() and (gray >= 0).all()):
        raise DataError(f"{name} has values that are negative or not finite. Black is 0.")
    return gray
