"""Distances between images: pixel norm, mean square error, SSIM and an encoder's cosine.

The pixel norm is the metric of the counterfactual evaluation of D-TRAK (Zheng et al., 2024): the l2
norm of the difference of all pixel values in [-1, 1]. It is not divided by their number and grows
with the image size. SSIM is that of Wang et al. (2004) with a 7x7 window, or the largest odd window
that fits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from creditline.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from creditline.features.encoder import Encoder

WINDOW = 7
SMALLEST = 3


@dataclass(frozen=True)
class ImageDistances:
    """Distances of b pairs of images, each float64 of shape `(b,)`.

    Attributes:
        l2: norm of the difference of pixels in [-1, 1].
        mse: mean square of the same difference.
        ssim: structural similarity, 1 for equal images.
        cosine: cosine of the encoder's embeddings, 1 for equal images; None without an encoder.
    """

    l2: np.ndarray
    mse: np.ndarray
    ssim: np.ndarray
    cosine: np.ndarray | None = None


def measure_distances(
    before: ArrayLike, after: ArrayLike, encoder: Encoder | None = None
) -> ImageDistances:
    """Compute the distances of pairs of images.

    Args:
        before, after: uint8 of shape `(b, H, W, 3)` each.
        encoder: function of a list of RGB images that returns shape `(b, k)`; see
            `similarity.encoder`.

    Raises:
        DataError: if shapes or types differ from these, or images are smaller than 3 pixels.
        ModelError: if the encoder does not return one vector per image.
    """
    a, b = _check_images(before), _check_images(after)
    if a.shape != b.shape:
        raise DataError(
            f"Images are compared in pairs of one size; got shapes {a.shape} and {b.shape}. Resize "
            "one of them."
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
    """Compute the mean structural similarity of uint8 images `(b, H, W, 3)`."""
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


def cosine(before: np.ndarray, after: np.ndarray, encoder: Encoder) -> np.ndarray:
    """Compute the cosine of embeddings of uint8 images `(b, H, W, 3)`; 0 for a zero embedding."""
    from creditline.features.encoder import EncoderExtractor

    source = EncoderExtractor(encoder)
    x, y = (_embed(source, images) for images in (before, after))
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    products = np.einsum("bk,bk->b", x, y)
    return np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)


def _embed(source: Any, images: np.ndarray) -> np.ndarray:
    from creditline.data.image_set import ImageSet

    image_set = ImageSet.from_images([Image.fromarray(image) for image in images])
    return source.extract(image_set, range(len(image_set)))[:, 0, 0].astype(np.float64)


def _check_images(images: ArrayLike) -> np.ndarray:
    array = np.asarray(images)
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3:
        raise DataError(
            f"Images to compare are uint8 of shape (b, H, W, 3); got {array.dtype} "
            f"{array.shape}. ImageSet.array() returns such arrays."
        )
    if not len(array) or min(array.shape[1:3]) < SMALLEST:
        raise DataError(
            f"Images of shape {array.shape} cannot be compared. Give images of at least 3x3 pixels."
        )
    return array
