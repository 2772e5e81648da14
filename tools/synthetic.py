"""Synthetic images and features for `bench_scale.py`."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from PIL import Image

from creditline.data.image_fingerprint import fingerprint_images
from creditline.data.image_spec import ImageSpec
from creditline.features.extractor import FeatureExtractor
from creditline.fingerprint import of_bytes
from creditline.settings import to_dict


class ImageFiles:
    """Any number of gray images, with all that an index stores of images."""

    def __init__(self, start: int, stop: int) -> None:
        self.names = [f"{i:07d}.png" for i in range(start, stop)]
        self.ids = [of_bytes(name.encode()) for name in self.names]
        self.contributors = [f"artist {i % 100}" for i in range(start, stop)]
        self.texts = self.labels = [None] * (stop - start)
        self.columns: dict[str, Any] = {}
        self.label_names, self.shape, self.spec = None, (3, 4, 4), ImageSpec()
        self.masks = self.mask_ids = self.captions = self.prompt_template = None
        self.fingerprint = fingerprint_images(self.ids, self.labels, self.texts, to_dict(self.spec))
        self.start = start

    def __len__(self) -> int:
        return len(self.names)

    def image(self, _: int) -> Image.Image:
        return Image.new("RGB", (4, 4), "gray")


class Synthetic(FeatureExtractor):
    """Random features keyed by position, the same for any shards."""

    kind: ClassVar = "gradients"

    def __init__(self, dim: int, halves: bool = False) -> None:
        self.dim, self.has_halves = dim, halves
        rng = np.random.default_rng(0)
        self.common = rng.standard_normal(dim, np.float32)
        self.centers = rng.standard_normal((1000, dim), np.float32)

    def check(self, images: Any) -> None:
        pass

    def extract(
        self,
        images: Any,
        indices: range,
        role: str = "train",
        trajectories: Any = None,
        reduction: str = "mean",
    ) -> np.ndarray:
        features = self.rows(images.start + indices.start, len(indices))
        if not self.has_halves:
            return features[:, None, None]
        errors = self.rows(images.start + indices.start, len(indices), 1) - self.common
        return np.stack([features, 0.1 * errors], axis=1)[:, :, None]

    def rows(self, start: int, count: int, stream: int = 0) -> np.ndarray:
        """float32 of shape `(count, k)`."""
        rng = np.random.default_rng([stream, start])
        features = rng.standard_normal((count, self.dim), np.float32)
        features += self.centers[rng.integers(0, len(self.centers), count)]
        features *= np.exp(rng.uniform(-1, 1, count)).astype(np.float32)[:, None]
        features += self.common
        return features


class Whitened(Synthetic):
    """Rows like the whitened gradients of images, in codes of one bit.

    Their cosines spread as those of `icons` and `cifar2-small` do (0.02 to 0.04 around zero): 64
    directions of slowly falling size below noise of all, and lengths that differ by a fifth. There
    are no groups. Features of D-TRAK beside them share the directions' coordinates.

    Args:
        dim: numbers of a whitened gradient.
        square_dim: numbers of D-TRAK's features; 0: none.
        share: of the first direction in a row's squared length.
        seed: of the directions.
    """

    directions: ClassVar = 64

    def __init__(self, dim: int, square_dim: int = 0, share: float = 0.019, seed: int = 0) -> None:
        self.sizes = [dim, square_dim][: 1 + bool(square_dim)]
        self.dim, self.has_halves, self.seed = sum(self.sizes), False, seed
        self.bits = (1, 16)[: len(self.sizes)]
        shares = share / np.sqrt(np.arange(1, 1 + self.directions))
        self.rest = np.float32(np.sqrt(1 - shares.sum()))
        rng = np.random.default_rng([seed, 0])
        self.basis = rng.standard_normal((self.directions, self.dim), np.float32)
        self.basis *= np.sqrt(shares).astype(np.float32)[:, None]

    @property
    def feature_sets(self) -> dict[str, int]:
        return (
            dict(zip(("loss", "square-norm"), self.sizes, strict=False)) if self.sizes[1:] else {}
        )

    def rows(self, start: int, count: int, stream: int = 0) -> np.ndarray:
        rng = np.random.default_rng([self.seed, stream, start])
        rows = rng.standard_normal((count, self.dim), np.float32) * self.rest
        rows += rng.standard_normal((count, self.directions), np.float32) @ self.basis
        rows *= np.exp(0.2 * rng.standard_normal(count)).astype(np.float32)[:, None]
        return rows
