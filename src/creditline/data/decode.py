"""From the bytes of an image file to an upright 8-bit RGB or RGBA image, or a clear refusal."""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from creditline.errors import DataError

EXTENSIONS = frozenset(
    {".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".gif", ".bmp", ".dib"}
    | {".tif", ".tiff", ".tga", ".jp2", ".j2k", ".ico", ".ppm", ".pgm", ".pbm", ".pnm"}
)
"""Lower-case file name endings that are taken for images."""

MAX_FILE_BYTES = 1 << 30
"""No image file is larger than this; a zip entry that claims to be is a bomb or a mistake."""

# What Pillow's readers raise on damaged files, found by feeding them some.
DAMAGE = (OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, RuntimeError)
DAMAGE += (OverflowError, struct.error, zlib.error)  # type: ignore[assignment]

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(data: bytes, name: str) -> Image.Image:
    """Open, check and turn upright one encoded image.

    Args:
        data: the contents of the file.
        name: what to call it in an error.

    Returns:
        A fully loaded image as `upright` gives it: mode RGB, or RGBA where there is alpha.

    Raises:
        DataError: if the bytes are no image, are cut short or corrupt, would unpack to more
            pixels than Pillow's `Image.MAX_IMAGE_PIXELS`, or have no defined 8-bit meaning.
    """
    if not data:
        raise DataError(f"{name}: the file is empty. Remove it or put the image back.")
    try:
        with warnings.catch_warnings():
            # Pillow only warns between one and two times its limit; both are refused here.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
            with Image.open(io.BytesIO(data)) as image:
                return to_upright(image, name)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            f"{name}: unpacks to more than {Image.MAX_IMAGE_PIXELS:,} pixels, which looks like a "
            "decompression bomb. Shrink it, or raise PIL.Image.MAX_IMAGE_PIXELS if you trust it."
        ) from error
    except UnidentifiedImageError as error:
        raise DataError(f"{name}: not an image in any format Pillow reads.") from error
    except DAMAGE as error:
        raise DataError(f"{name}: corrupt or cut short ({error}).") from error


def to_upright(image: Image.Image, name: str = "image") -> Image.Image:
    """The first frame of an image, turned as its EXIF tag says, in 8-bit RGB or RGBA.

    16-bit gray is scaled to 8 bits; palette, gray, CMYK, YCbCr, HSV and LAB are converted (color
    profiles are not applied); every kind of transparency becomes an alpha channel.

    Raises:
        DataError: for floating point and 32-bit integer images, whose range is not defined.
    """
    if getattr(image, "n_frames", 1) > 1:
        image.seek(0)
    image.load()  # some readers turn the image themselves here, and drop the tag
    from_png = image.format == "PNG"  # some Pillow versions open 16-bit gray PNG as mode I
    turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    if turn is not None:
        image = image.transpose(turn)
    if image.mode.startswith("I;16") or (image.mode == "I" and from_png):
        image = _from_16_bits(image)
    if image.mode in ("I", "F"):
        raise DataError(
            f"{name}: pixels of mode {image.mode!r} (32 bits) have no defined black and white. "
            "Convert the image to 8 or 16 bits per channel."
        )
    alpha = image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info
    if image.mode == "La":
        image = image.convert("LA")
    plain = image.convert("RGBA" if alpha else "RGB")
    plain.info.clear()  # the tags no longer apply
    return plain


def _from_16_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    gray = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    opaque = image.info.get("transparency")
    if isinstance(opaque, int):  # one 16-bit gray value stands for transparent
        alpha = Image.fromarray(np.where(values == opaque, 0, 255).astype(np.uint8))
        return Image.merge("LA", (gray, alpha))
    return gray
