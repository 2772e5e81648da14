"""Masks of an image set's images: a metadata column that names them, or a folder of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from creditline.data.archive_files import ArchiveFiles
from creditline.data.decode import decode
from creditline.data.files import FolderFiles, ImageFiles, open_source
from creditline.data.formats import is_image_file
from creditline.data.image_listing import ImageListing, abbreviate
from creditline.data.image_spec import ImageSpec
from creditline.data.mask import Mask, require_aspect, to_gray
from creditline.data.names import by_composed_name, candidate_paths, compose
from creditline.data.preparation import center_square
from creditline.errors import DataError

COLUMN = "mask"


def read_masks(
    listing: ImageListing, rows: Sequence[int], origin: str | Path, spec: ImageSpec, shape: tuple
) -> list[Mask | None]:
    """The masks of images that were loaded.

    A mask has the size of its image's file, and is cropped as that is; or it has the aspect of
    the image as prepared, at any size.

    Args:
        listing: of all images.
        rows: positions of the loaded images.
        origin: `"column"`, where column `mask` names a file of the same source (empty: all of the
            image counts); or a folder or zip file with a mask of the same name, its ending
            apart, for every image.
        spec: how the images were prepared.
        shape: `(H, W)` of the prepared images.

    Raises:
        DataError: if a mask is missing, belongs to no image, cannot be read, is black all over or
            of another aspect, or the source has no such column.
    """
    if origin == "column":
        place, files = listing.source, _in_column(listing)
    else:
        place = open_source(origin)
        if isinstance(place, ImageFiles):
            raise DataError(f"{origin} is an image. Masks come in a folder, one for each image.")
        files = _of_same_names(place, listing.names)
    masks: list[Mask | None] = []
    for i in rows:
        file = files[i]
        if file is None or place is None:
            masks.append(None)
            continue
        name = f"The mask {file} of {listing.names[i]}"
        gray = to_gray(decode(place.read(file), name), name)
        fits = gray.width * shape[0] == gray.height * shape[1] and spec.center_crop is None
        if not fits and gray.size == listing.open_image(i).size:
            if spec.center_crop is not None:
                gray = center_square(gray, spec.center_crop)
            if spec.size is not None and spec.crop == "center":
                gray = center_square(gray, min(gray.size))
        else:
            require_aspect(gray.size, shape, name)
        masks.append(Mask.from_gray(np.asarray(gray).astype(np.float64), shape, name))
    return masks


def _in_column(listing: ImageListing) -> Sequence[str | None]:
    source = listing.source
    if not isinstance(source, (FolderFiles, ArchiveFiles)) or COLUMN not in listing.columns:
        having = ", ".join(listing.columns) or "none"
        raise DataError(
            f"{listing.label} has no metadata column {COLUMN!r} that names files; its columns: "
            f"{having}. Add one, or give a folder of masks."
        )
    files = by_composed_name(source.files(), listing.label)
    return [
        None if value is None else _file_of(value, files, name, listing.label)
        for name, value in zip(listing.names, listing.columns[COLUMN], strict=True)
    ]


def _file_of(value: str, files: Mapping[str, str], name: str, label: str) -> str:
    """Return the file of the source that a value names; only those are read."""
    for path in candidate_paths("", value):
        if path in files:
            return files[path]
    raise DataError(
        f"The mask {value!r} of {name} is no file in {label}. Column {COLUMN!r} names files in the "
        "data set, relative to its folder."
    )


def _of_same_names(place: FolderFiles | ArchiveFiles, names: Sequence[str]) -> Sequence[str | None]:
    files: dict[str, str] = {}
    for file in filter(is_image_file, place.files()):
        other = files.setdefault(_stem(file), file)
        if other != file:
            raise DataError(f"{place.label} has two masks of one name, {other} and {file}.")
    stems = [_stem(name) for name in names]
    without = [name for name, stem in zip(names, stems, strict=True) if stem not in files]
    if without:
        raise DataError(
            f"{len(without)} images have no mask of their name in {place.label}: "
            f"{abbreviate(without)}. Add white ones for images that count as a whole."
        )
    strangers = sorted(files[stem] for stem in set(files) - set(stems))
    if strangers:
        raise DataError(
            f"{len(strangers)} masks in {place.label} have the name of no image: "
            f"{abbreviate(strangers)}. Name masks as their images, or take them out."
        )
    return [files[stem] for stem in stems]


def _stem(name: str) -> str:
    return PurePosixPath(compose(name)).with_suffix("").as_posix()
