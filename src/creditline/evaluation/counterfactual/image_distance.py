"""How far two pictures are apart: pixel norm and mean square, SSIM, an encoder's cosine.

The pixel norm is the measure of the D-TRAK paper's counterfactual (Zheng et al., 2024): the l2 norm
of the difference of all pixel values in [-1, 1], not divided by their number, so it grows with the
picture's size. SSIM is Wang et al. (2004) with a 7x7 window, or the largest odd one that fits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from creditline.errors import DataError

WINDOW = 7
SMALLEST = 3


@dataclass(frozen=True)
class ImageDistances:
    """Distances of b pairs of pictures, each float64 of shape `(b,)`.

    Attributes:
        l2: norm of the difference of pixels in [-1, 1].
        mse: mean square of the same difference.
        ssim: structural similarity, 1 for equal pictures.
        cosine: of the encoder's embeddings, 1 for equal pictures; None without an encoder.
    """

    l2: np.ndarray
    mse: np.ndarray
    ssim: np.ndarray
    cosine: np.ndarray | None = None


def measure_distances(before: Any, after: Any, encoder: Any = None) -> ImageDistances:
    """Compare pictures pairwise.

    Args:
        before, after: uint8 of shape `(b, H, W, 3)` each.
        encoder: takes a list of RGB pictures, returns `(b, k)`; see `similarity.encoder`.

    Raises:
        DataError: if shapes or types are others, or the pictures are smaller than 3 pixels.
        ModelError: if the encoder does not return one vector per picture.
    """
    a, b = _checked(before), _checked(after)
    if a.shape != b.shape:
        raise DataError(
            f"Pictures are compared in pairs of one size; got shapes {a.shape} and {b.shape}."
        )
    change = (a.astype(np.float64) - b.astype(np.float64)).reshape(len(a), -1) / 127.5
    square = (change**2).sum(1)
    return ImageDistances(
        l2=np.sqrt(square),
        mse=square / change.shape[1],
        ssim=ssim(a, b),
        cosine=None if encoder is None else cosine(a, b, encoder),
    )


def ssim(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Structural similarity of uint8 pictures `(b, H, W, 3)`, mean over pixels and channels."""
    from skimage.metrics import structural_similarity

    side = min(WINDOW, *before.shape[1:3])
    window = side if side % 2 else side - 1
    return np.array(
        [
            structural_similarity(x, y, win_size=window, channel_axis=2, data_range=255)
            for x, y in zip(before, after, strict=True)
        ],
        dtype=np.float64,
    )


def cosine(before: np.ndarray, after: np.ndarray, encoder: Any) -> np.ndarray:
    """Cosine of an encoder's embeddings of uint8 pictures `(b, H, W, 3)`; 0 where one is zero."""
    from creditline.features.encoder import EncoderExtractor

    source = EncoderExtractor(encoder)
    x, y = (_embedded(source, pictures) for pictures in (before, after))
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    products = np.einsum("bk,bk->b", x, y)
    return np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)


def _embedded(source: Any, pictures: np.ndarray) -> np.ndarray:
    from creditline.data.image_set import ImageSet

    images = ImageSet.from_images([Image.fromarray(p) for p in pictures])
    return source.extract(images, range(len(images)))[:, 0, 0].astype(np.float64)


def _checked(pictures: Any) -> np.ndarray:
    array = np.asarray(pictures)
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3:
        raise DataError(
            f"Pictures to compare are uint8 of shape (b, H, W, 3); got {array.dtype} "
            f"{array.shape}. ImageSet.array() returns them so."
        )
    if not len(array) or min(array.shape[1:3]) < SMALLEST:
        raise DataError(f"There is nothing to compare in pictures of shape {array.shape}.")
    return array
