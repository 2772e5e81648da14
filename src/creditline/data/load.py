"""`load_images`: images from folders, zip files, datasets, lists of files and the demo's icons."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from creditline.data.dataset import is_dataset, list_dataset
from creditline.data.emoji import list_emoji
from creditline.data.files import ImageFiles, open_source
from creditline.data.icons import list_icons
from creditline.data.image_listing import ImageListing, abbreviate
from creditline.data.image_metadata import read_metadata
from creditline.data.image_set import ImageSet
from creditline.data.image_source import ImageSource
from creditline.data.image_spec import ImageSpec
from creditline.data.masks import COLUMN, read_masks
from creditline.data.metadata_files import list_files
from creditline.data.metadata_spec import MetadataSpec
from creditline.data.names import compose
from creditline.data.pixel_array import MEMORY_LIMIT
from creditline.data.prepared_pixels import prepare_images
from creditline.data.selection import SelectionSpec, sample_images
from creditline.errors import DataError, unknown
from creditline.explain import explained
from creditline.runtime import Runtime
from creditline.settings import require

DEMO: dict[str, Callable[[], ImageListing]] = {
    "demo:emoji": partial(list_emoji, "train"),
    "demo:emoji/held-out": partial(list_emoji, "held-out"),
    "demo:icons": list_icons,
}
"""Images that ship, or come with packages."""


@explained
def load_images(
    source: ImageSource,
    spec: ImageSpec | None = None,
    *,
    metadata: MetadataSpec | None = None,
    selection: SelectionSpec | None = None,
    masks: str | Path | None = None,
    memory: int = MEMORY_LIMIT,
    runtime: Runtime | None = None,
) -> ImageSet:
    """Load images with their contributors, captions, classes and masks.

    Images come in plain lexicographic order of their names (code points, `10.png` before
    `9.png`); rows of a dataset and listed files keep their order. Every image is opened once, so
    a bad one is reported before any long work.

    Args:
        source: one of

            - a folder, searched recursively; hidden files are ignored, symbolic links followed;
            - a zip file, or a folder inside one, such as `"cifar2.zip/train"`;
            - an image file, or a list of image files;
            - a Hugging Face `datasets.Dataset` with an image column;
            - `"demo:emoji"`, 448 emoji of 24x24 pixels from seven sets, and
              `"demo:emoji/held-out"`, 575 more of them;
            - `"demo:icons"`, icons of 16x16 pixels by four artists, from packages on PyPI;
            - an `ImageSet`, which is returned as it is.

            Folders and zip files may hold `metadata.csv`, `.jsonl` or `.parquet`, as in Hugging
            Face's imagefolder: column `file_name` is relative to the metadata file.
        spec: size, crop and background; by default images are used as they are and must have one
            size.
        metadata: origin of contributors, captions and classes; by default metadata columns of
            these names. Class numbers are used as they are; class names are numbered in sorted
            order.
        selection: which images to load; by default all, and a bad image is an error.
        masks: part of each image that attribution considers, white on black. `"column"`: metadata
            column `mask` names a file of the source; or a folder or zip file of masks with the
            names of the images; see `creditline.data.masks`.
        memory: bytes of prepared pixels to hold; further images are decoded on demand.
        runtime: shows progress.

    Returns:
        The images, of shape `(3, H, W)` each.

    Raises:
        DataError: if the source is missing, empty, unreadable or inconsistent; the message
            names the files.
        SettingsError: for impossible settings.
    """
    require(memory >= 0, "memory is a number of bytes", memory, "Use 0 to hold no pixels.")
    spec, metadata = spec or ImageSpec(), metadata or MetadataSpec()
    selection = selection or SelectionSpec()
    if isinstance(source, ImageSet):
        _require_unset(source, spec, metadata, masks)
        return sample_images(source, selection)
    mask_column = COLUMN if masks == "column" else None
    listing = _list(source, metadata, selection.skip_bad, mask_column)
    values = read_metadata(listing, metadata)
    prepared = prepare_images(
        listing.names,
        listing.open_image,
        spec,
        keys=listing.keys,
        source=listing.source,
        skip_bad=selection.skip_bad,
        limit=selection.limit,
        memory=memory,
        runtime=runtime,
    )
    rows = prepared.rows
    shape = prepared.pixels.shape[:2]
    images = ImageSet(
        prepared.pixels,
        names=[listing.names[row] for row in rows],
        **values.take(rows),
        masks=None if masks is None else read_masks(listing, rows, masks, spec, shape),
        source=listing.label,
        skipped=(*listing.skipped, *prepared.skipped),
        prompt_template=metadata.prompt_template,
    )
    return sample_images(images, selection)


def _list(
    source: ImageSource, metadata: MetadataSpec, skip_bad: bool, mask_column: str | None
) -> ImageListing:
    if is_dataset(source):
        return list_dataset(source, metadata.image_column, metadata.label_column)
    if metadata.image_column is not None:
        raise DataError("image_column is for datasets; folders and zip files have none.")
    if isinstance(source, str) and source.startswith("demo:"):
        if source not in DEMO:
            raise unknown("demo source", source, DEMO)
        return DEMO[source]()
    if isinstance(source, (str, os.PathLike)):
        place = open_source(source)
        if isinstance(place, ImageFiles):
            return _list_paths(place)
        return list_files(place, skip_bad, mask_column)
    if isinstance(source, Sequence) and all(isinstance(p, (str, os.PathLike)) for p in source):
        if not source:
            raise DataError("The list of image files is empty.")
        return _list_paths(ImageFiles([Path(path).expanduser() for path in source]))
    raise DataError(
        f"Images load from a path, a list of image files, a datasets.Dataset or one of "
        f"{', '.join(DEMO)}; got {type(source).__name__}. For images in memory use "
        "ImageSet.from_images."
    )


def _list_paths(files: ImageFiles) -> ImageListing:
    absent = [str(path) for path in files.paths if not path.exists()]
    if absent:
        raise DataError(f"No such image files: {abbreviate(absent)}.")
    keys = tuple(str(path.absolute()) for path in files.paths)
    names = tuple(compose(path.as_posix()) for path in files.paths)
    if len({compose(path.name) for path in files.paths}) == len(keys):
        names = tuple(compose(path.name) for path in files.paths)
    return ImageListing.of(files, names, keys)


def _require_unset(
    images: ImageSet, spec: ImageSpec, metadata: MetadataSpec, masks: str | Path | None
) -> None:
    """Refuse settings that come too late for images that are loaded already."""
    if spec.size is not None and images.shape[1:] != (spec.size, spec.size):
        raise DataError(
            f"{images!r} is prepared already and does not have the requested size {spec.size}. "
            "Load its source with that size."
        )
    if masks is not None:
        raise DataError("Masks are read with the images. Use with_masks on an ImageSet.")
    require(
        metadata.prompt_template is None,
        "A prompt template makes captions when images are loaded, and these are loaded already",
        metadata.prompt_template,
        "Load their source with it.",
    )
