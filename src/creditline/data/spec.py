"""How pictures are brought to one shape: every choice explicit, recorded in every manifest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from creditline.data.decode import upright
from creditline.errors import DataError, unknown
from creditline.settings import require, setting

CROPS = ("center", "stretch", "none")
BACKGROUNDS = {"white": 255, "black": 0}
RESAMPLE = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class ImageSpec:
    """The preparation of a picture: alpha over a background, crop, resize, in this order."""

    size: int | None = setting(
        None, "side of the square in pixels; none: all pictures already share one size"
    )
    crop: str = setting(
        "center", "center: middle square, then resize; stretch: ignore the aspect; none: refuse"
    )
    center_crop: int | None = setting(
        None, "cut this many pixels square out of the middle before resizing (CelebA: 140)"
    )
    background: str = setting("white", "what transparent pixels are laid over: white or black")
    resample: str = setting("bilinear", "filter of the resize (antialiased), or nearest")

    def __post_init__(self) -> None:
        """Raises SettingsError for unknown names and sizes below 1."""
        if self.crop not in CROPS:
            raise unknown("crop", self.crop, CROPS)
        if self.background not in BACKGROUNDS:
            raise unknown("background", self.background, BACKGROUNDS)
        if self.resample not in RESAMPLE:
            raise unknown("resample filter", self.resample, RESAMPLE)
        for name in ("size", "center_crop"):
            value = getattr(self, name)
            if value is not None:
                whole = isinstance(value, int) and not isinstance(value, bool)
                require(whole and value >= 1, f"{name} must be 1 or more pixels", value, "")


def prepare(image: Image.Image, spec: ImageSpec, name: str = "picture") -> np.ndarray:
    """One picture in its final form.

    Alpha is laid over the background before anything is resized. Over a constant color this
    equals resizing premultiplied colors, so transparent pixels never bleed in.

    Args:
        image: any picture Pillow can hold.
        spec: what to do.
        name: what to call it in an error.

    Returns:
        uint8 [H, W, 3].

    Raises:
        DataError: if the picture does not fit `spec`, or its pixels have no 8-bit meaning.
    """
    rgb = flatten(upright(image, name), spec.background)
    if spec.center_crop is not None:
        if min(rgb.size) < spec.center_crop:
            raise DataError(
                f"{name} is {_size(rgb)}, too small to cut {spec.center_crop} pixels square out "
                "of it. Use a smaller center_crop or remove the picture."
            )
        rgb = middle(rgb, spec.center_crop)
    if spec.size is not None:
        side = (spec.size, spec.size)
        if spec.crop == "none" and rgb.size != side:
            raise DataError(
                f"{name} is {_size(rgb)}, but crop='none' accepts only {spec.size}x{spec.size}. "
                "Use crop='center' or crop='stretch' to have it resized."
            )
        if spec.crop == "center":
            rgb = middle(rgb, min(rgb.size))
        if rgb.size != side:
            rgb = rgb.resize(side, RESAMPLE[spec.resample])
    return np.asarray(rgb)


def flatten(image: Image.Image, background: str) -> Image.Image:
    """An RGB or RGBA picture laid over a color: rgb a + color (1 - a), rounded to nearest."""
    if image.mode == "RGB":
        return image
    values = np.asarray(image).astype(np.uint32)
    rgb, alpha = values[..., :3], values[..., 3:]
    over = rgb * alpha + BACKGROUNDS[background] * (255 - alpha)
    return Image.fromarray(((over + 127) // 255).astype(np.uint8))


def middle(image: Image.Image, side: int) -> Image.Image:
    """The square of so many pixels in the middle of a picture."""
    # Half pixels go to the even neighbor, as in torchvision's CenterCrop.
    left, top = (round((length - side) / 2) for length in image.size)
    return image.crop((left, top, left + side, top + side))


def _size(image: Image.Image) -> str:
    return f"{image.width}x{image.height}"
