"""Training pictures with ids, names, contributors and captions."""

from __future__ import annotations

from creditline.data.image_set import ImageSet
from creditline.data.load import load_images
from creditline.data.spec import ImageSpec

__all__ = ["ImageSet", "ImageSpec", "load_images"]
