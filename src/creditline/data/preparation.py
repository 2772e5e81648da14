"""Preparation of images: background, crop and resize, as an `ImageSpec` says."""

from __future__ import annotations

import numpy as np
from PIL import Image

from creditline.data.decode import strips, to_upright
from creditline.data.image_spec import ImageSpec
from creditline.errors import DataError

BACKGROUNDS = {"white": 255, "black": 0}


def prepare(image: Image.Image, spec: ImageSpec, name: str = "image") -> np.ndarray:
    """Bring one image to its final form.

    Alpha is composited over the background before anything is resized. Over a constant color this
    equals resizing premultiplied colors, so transparent pixels never bleed in.

    Args:
        image: any image that Pillow can hold.
        spec: what to do.
        name: of the image, for errors.

    Returns:
        uint8 [H, W, 3].

    Raises:
        DataError: if the image does not fit `spec`, or its pixels have no 8-bit meaning.
    """
    rgb = flatten(to_upright(image, name), spec.background)
    if spec.center_crop is not None:
        if min(rgb.size) < spec.center_crop:
            raise DataError(
                f"{name} is {_size(rgb)}, too small to cut {spec.center_crop} pixels square out "
                "of it. Use a smaller center_crop or remove the image."
            )
        rgb = center_square(rgb, spec.center_crop)
    if spec.size is not None:
        side = (spec.size, spec.size)
        if spec.crop == "none" and rgb.size != side:
            raise DataError(
                f"{name} is {_size(rgb)}, but crop='none' accepts only {spec.size}x{spec.size}. "
                "Use crop='center' or crop='stretch' to have it resized."
            )
        if spec.crop == "center":
            rgb = center_square(rgb, min(rgb.size))
        if rgb.size != side:
            rgb = rgb.resize(side, Image.Resampling[spec.resample.upper()])
    return np.asarray(rgb)


def flatten(image: Image.Image, background: str) -> Image.Image:
    """Composite an RGB or RGBA image over a color: rgb a + color (1 - a), rounded to nearest."""
    if image.mode == "RGB":
        return image
    color = (BACKGROUNDS[background],) * 3
    result = Image.new("RGB", image.size, color)
    for rows in strips(image):
        strip = image.crop((0, rows.start, image.width, min(rows.stop, image.height)))
        values = np.asarray(strip)
        if (values[..., 3] == 255).all():  # opaque, as most of a large image is
            result.paste(strip.convert("RGB"), (0, rows.start))
        elif values[..., 3].any():
            part = values.astype(np.uint32)
            rgb, alpha = part[..., :3], part[..., 3:]
            over = rgb * alpha + BACKGROUNDS[background] * (255 - alpha)
            blend = ((over + 127) // 255).astype(np.uint8)
            result.paste(Image.fromarray(blend), (0, rows.start))
    return result


def center_square(image: Image.Image, side: int) -> Image.Image:
    """Cut a square of `side` pixels out of the middle of an image."""
    if image.size == (side, side):
        return image
    # Half pixels go to the even neighbor, as in torchvision's CenterCrop.
    left, top = (round((length - side) / 2) for length in image.size)
    return image.crop((left, top, left + side, top + side))


def _size(image: Image.Image) -> str:
    return f"{image.width}x{image.height}"
