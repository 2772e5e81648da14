"""Settings of the preparation of images, recorded in every manifest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from creditline.bounds import SIDE
from creditline.settings import setting, validate_settings


@dataclass(frozen=True)
class ImageSpec:
    """Settings that bring images to one shape: background, crop and resize, in this order."""

    size: int | None = setting(
        None, "side of the square in pixels; none: all images already have one size", bounds=SIDE
    )
    crop: Literal["center", "stretch", "none"] = setting(
        "center", "center: middle square, then resize; stretch: ignore the aspect; none: refuse"
    )
    center_crop: int | None = setting(
        None,
        "cut a square of this many pixels out of the middle before resizing (CelebA: 140)",
        bounds=SIDE,
    )
    background: Literal["white", "black"] = setting("white", "color behind transparent pixels")
    resample: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] = setting(
        "bilinear", "filter of the resize (antialiased), or nearest"
    )

    def __post_init__(self) -> None:
        """Check the choices and sizes.

        Raises:
            SettingsError: on an unknown name or a size below 1.
        """
        validate_settings(self)
