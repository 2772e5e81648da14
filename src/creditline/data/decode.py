"""From the bytes of an image file to an upright 8-bit RGB or RGBA image, or a clear refusal."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from creditline.data.formats import readable_formats
from creditline.data.limits import MAX_SIDE, PIXELS
from creditline.data.png import damaged_chunk
from creditline.errors import DataError

STRIP = 1 << 18
"""Pixels whose intermediate values are in memory at once."""

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

    Only the formats of `creditline.data.formats` are tried, whatever the file is called.

    Args:
        data: the contents of the file.
        name: what to call it in an error.

    Returns:
        A fully loaded image as `upright` gives it: mode RGB, or RGBA where there is alpha.

    Raises:
        DataError: if the bytes are no image in these formats, are cut short or corrupt, would
            unpack to more pixels than the limit, or have no defined 8-bit meaning.
    """
    if not data:
        raise DataError(f"{name}: the file is empty. Remove it or put the image back.")
    damage = damaged_chunk(data)
    if damage is not None:
        raise DataError(f"{name}: corrupt or cut short ({damage}).")
    formats = readable_formats()
    _lift_pillows_limit()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
            with Image.open(io.BytesIO(data), formats=formats) as image:
                return to_upright(image, name, share=True)
    except UnidentifiedImageError as error:
        known = ", ".join(formats)
        raise DataError(f"{name}: not an image in a format that is read: {known}.") from error
    except DataError:
        raise
    except Exception as error:  # Pillow's readers raise many kinds on damaged files
        raise _unreadable(name, error) from error


def load_pixels(image: Image.Image, name: str) -> None:
    """Load the pixels of an image that may be a file which is not read yet.

    Raises:
        DataError: if its format is not among those that are read, it has more pixels than the
            limit, or it is corrupt or cut short.
    """
    if isinstance(image, ImageFile.ImageFile) and image.format not in (*readable_formats(), "MPO"):
        raise DataError(
            f"{name}: the format {image.format} is not read. If you trust the file, convert it "
            "first: image.convert('RGB')."
        )
    width, height = image.size
    if max(width, height) > MAX_SIDE:
        raise DataError(
            f"{name}: {width}x{height} pixels; a side may have {MAX_SIDE:,}. Scale it down."
        )
    if width * height > PIXELS.value:
        raise DataError(
            f"{name}: {width}x{height} are {width * height:,} pixels, and at most "
            f"{PIXELS.value:,} are decoded. Shrink it. {PIXELS.remedy(width * height)}"
        )
    try:
        if image.tell() != 0:
            image.seek(0)
        image.load()  # some readers turn the image themselves here, and drop the tag
    except Exception as error:  # as in decode
        raise _unreadable(name, error) from error


def to_upright(image: Image.Image, name: str = "image", share: bool = False) -> Image.Image:
    """The first frame of an image, turned as its EXIF tag says, in 8-bit RGB or RGBA.

    16-bit gray is scaled to 8 bits; palette, gray, CMYK, YCbCr, HSV and LAB are converted (color
    profiles are not applied); every kind of transparency becomes an alpha channel.

    Args:
        image: any image that Pillow can hold.
        name: of the image, for errors.
        share: the result may share pixels with the image, which nothing changes later.

    Raises:
        DataError: for floating point and 32-bit integer images, whose range is not defined; and as
            `load_pixels`.
    """
    load_pixels(image, name)
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
    mode = "RGBA" if alpha else "RGB"
    if type(image) is Image.Image and image.mode == mode and not image.info:
        return image  # upright already: a copy would only take memory
    if image.mode == "La":
        image = image.convert("LA")
    # Sharing leaves the reader and its buffers behind, and copies no pixels.
    is_shared = share and image.mode == mode
    plain = image._new(image.im) if is_shared else image.convert(mode)
    plain.info.clear()  # the tags no longer apply
    return plain


def strips(image: Image.Image) -> list[slice]:
    """Return the rows of an image in strips of bounded size."""
    rows = max(1, STRIP // max(1, image.width))
    return [slice(start, start + rows) for start in range(0, image.height, rows)]


def _from_16_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    opaque = image.info.get("transparency")
    gray = np.empty(values.shape, np.uint8)
    for rows in strips(image):
        gray[rows] = (values[rows].astype(np.int64) + 128) // 257
    if isinstance(opaque, int):  # one 16-bit gray value stands for transparent
        alpha = Image.fromarray((values != opaque) * np.uint8(255))
        return Image.merge("LA", (Image.fromarray(gray), alpha))
    return Image.fromarray(gray)


def _lift_pillows_limit() -> None:
    """Raise Pillow's own limit where the user asked for more; ours is checked before decoding."""
    own = Image.MAX_IMAGE_PIXELS
    if own is not None and PIXELS.value > max(2 * own, PIXELS.default):
        Image.MAX_IMAGE_PIXELS = PIXELS.value


def _unreadable(name: str, error: Exception) -> DataError:
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return DataError(
            f"{name}: unpacks to more than {PIXELS.value:,} pixels, which looks like a "
            f"decompression bomb. Shrink it, or raise the limit {PIXELS.variable} if you trust it."
        )
    if isinstance(error, MemoryError):
        return DataError(f"{name}: does not fit into memory. Scale it down.")
    return DataError(f"{name}: corrupt or cut short ({' '.join(str(error).split())[:200]}).")
