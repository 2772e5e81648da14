"""Images with ids, names, contributors, captions, classes and masks."""

from __future__ import annotations

from creditline.data.image_set import ImageSet
from creditline.data.image_source import ImageSource
from creditline.data.image_spec import ImageSpec
from creditline.data.load import load_images
from creditline.data.metadata_spec import MetadataSpec
from creditline.data.selection import SelectionSpec

__all__ = ["ImageSet", "ImageSource", "ImageSpec", "MetadataSpec", "SelectionSpec", "load_images"]
