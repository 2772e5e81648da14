"""load_images: one door for folders, zip files, datasets, lists of files and the demo's icons."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from creditline.data.dataset import describe_dataset, is_dataset
from creditline.data.draw import draw
from creditline.data.files import ImageFiles, find
from creditline.data.gather import gather
from creditline.data.icons import describe_icons
from creditline.data.image_set import ImageSet
from creditline.data.labels import Labels, class_indices, first_folder, parent_folder
from creditline.data.listing import ImageListing, Value, some
from creditline.data.masks import COLUMN, read_masks
from creditline.data.metadata import describe
from creditline.data.pixels import MEMORY_LIMIT
from creditline.data.spec import ImageSpec
from creditline.data.template import fill, known_columns
from creditline.errors import DataError, unknown
from creditline.settings import require

ORIGINS = ("column", "folder", "none")
DEMO = "demo:icons"


def load_images(
    source: Any,
    *,
    size: int | None = None,
    crop: str = "center",
    center_crop: int | None = None,
    background: str = "white",
    resample: str = "bilinear",
    labels: str | None = None,
    contributors: str | None = None,
    image_column: str | None = None,
    contributor_column: str = "contributor",
    text_column: str = "text",
    label_column: str = "label",
    masks: str | Path | None = None,
    prompt_template: str | None = None,
    skip_bad: bool = False,
    limit: int | None = None,
    sample: int | None = None,
    sample_each: str | None = None,
    sample_seed: int = 0,
    sample_skip: int = 0,
    memory: int = MEMORY_LIMIT,
) -> ImageSet:
    """Load pictures with whatever is known about them.

    Pictures come in plain lexicographic order of their names (code points, `10.png` before
    `9.png`); rows of a dataset and listed files keep their order. Every picture is opened once
    here, so a bad one is found now and not in the middle of the work that follows.

    Args:
        source: one of
            a folder, searched recursively, hidden files ignored; symbolic links are followed;
            a zip file, or a folder inside one, such as `"cifar2.zip/train"`;
            a picture file, or a list of picture files;
            a Hugging Face `datasets.Dataset` with an image column;
            `"demo:icons"`, icons of 16x16 pixels by four artists;
            an ImageSet, which is taken as it is.
            Folders and zip files may hold `metadata.csv`, `.jsonl` or `.parquet`, as Hugging
            Face's imagefolder has it: column `file_name` is relative to the metadata file.
        size, crop, center_crop, background, resample: as `ImageSpec`.
        labels: where the class comes from. `"column"`: metadata column `label_column`, which
            must exist; `"folder"`: the folder a picture lies in; `"none"`: nowhere; None: the
            column if there is one. Whole numbers are taken as they are, names are numbered in
            sorted order.
        contributors: the same for the contributor, except that `"folder"` is the *first* folder
            below the source, so that `artist/series/1.png` is by `artist`.
        image_column: the image column of a dataset, needed if it has several.
        contributor_column, text_column, label_column: what those columns are called.
        masks: the part of each picture that attribution looks at, white on black: `"column"`, where
            metadata column `mask` names a file of the source; or a folder or zip file of masks with
            the pictures' names; see `creditline.data.masks`.
        prompt_template: makes every caption out of other columns, as
            `"an icon of {label} by {contributor}"`; classes go by their names. Columns that it
            does not name change nothing.
        skip_bad: leave out pictures that cannot be read or do not fit, metadata rows without a
            file and files without a row, and list them in `skipped`, instead of stopping.
        limit: load only the first so many pictures.
        sample, sample_each, sample_seed, sample_skip: keep so many pictures drawn at random, of
            all together or of each `"contributor"` or `"label"`, after those that a draw of
            `sample_skip` would take; see `creditline.data.draw`.
        memory: bytes of prepared pixels to hold; beyond it pictures are decoded on demand.

    Raises:
        DataError: if the source is missing, empty, unreadable or inconsistent; the message
            names the files.
        SettingsError: for impossible settings.
    """
    spec = ImageSpec(size, crop, center_crop, background, resample)
    for what, origin in (("labels", labels), ("contributors", contributors)):
        if origin not in (None, *ORIGINS):
            raise unknown(f"origin of {what}", origin, ORIGINS)
    require(limit is None or limit >= 1, "limit must be at least 1", limit, "Leave it out for all.")
    require(memory >= 0, "memory is a number of bytes", memory, "Use 0 to hold no pixels.")
    require(
        sample is not None or (sample_each is None and sample_skip == 0),
        "sample_each and sample_skip are of a draw",
        (sample_each, sample_skip),
        "Give sample, the number to draw, too.",
    )

    def part(images: ImageSet) -> ImageSet:
        if sample is None:
            return images
        return draw(images, sample, sample_each, sample_seed, sample_skip)

    if isinstance(source, ImageSet):
        _fits(source, spec)
        if masks is not None:
            raise DataError("Masks are read with the pictures. Use with_masks on an ImageSet.")
        require(
            prompt_template is None,
            "A prompt template makes captions when images are loaded, and these are already",
            prompt_template,
            "Load their source with it.",
        )
        return part(source)

    aside = COLUMN if masks == "column" else None
    listing = _list(source, image_column, label_column, skip_bad, aside)
    people = _contributors(listing, contributors, contributor_column)
    texts = _column(listing, text_column, required=text_column != "text")
    classes, class_names = _labels(listing, labels, label_column)
    if prompt_template is not None:
        known = known_columns(listing.columns, people, texts, classes, class_names)
        texts = fill(prompt_template, known, listing.names)
    used = {text_column}
    if contributors in (None, "column"):
        used.add(contributor_column)
    if labels in (None, "column"):
        used.add(label_column)
    found = gather(
        listing.names,
        listing.opened,
        spec,
        keys=listing.keys,
        source=listing.source,
        skip_bad=skip_bad,
        limit=limit,
        memory=memory,
    )

    def pick(values: Sequence[Any]) -> list[Any]:
        return [values[i] for i in found.kept]

    shape = found.pixels.shape[:2]
    parts = None if masks is None else read_masks(listing, found.kept, masks, spec, shape)
    images = ImageSet(
        found.pixels,
        names=pick(listing.names),
        contributors=pick(people),
        texts=pick(texts),
        labels=pick(classes),
        label_names=class_names,
        columns={key: pick(v) for key, v in listing.columns.items() if key not in used},
        masks=parts,
        source=listing.label,
        skipped=(*listing.left_out, *found.skipped),
        prompt_template=prompt_template,
    )
    return part(images)


def _list(
    source: Any,
    image_column: str | None,
    label_column: str,
    skip_bad: bool,
    aside: str | None,
) -> ImageListing:
    if is_dataset(source):
        return describe_dataset(source, image_column, label_column)
    if image_column is not None:
        raise DataError("image_column is for datasets; folders and zip files have none.")
    if isinstance(source, str) and source.startswith("demo:"):
        if source != DEMO:
            raise unknown("demo source", source, [DEMO])
        return describe_icons()
    if isinstance(source, (str, os.PathLike)):
        place = find(source)
        return (
            _pictures(place) if isinstance(place, ImageFiles) else describe(place, skip_bad, aside)
        )
    if isinstance(source, Sequence) and all(isinstance(p, (str, os.PathLike)) for p in source):
        if not source:
            raise DataError("The list of picture files is empty.")
        return _pictures(ImageFiles([Path(path).expanduser() for path in source]))
    raise DataError(
        f"Images load from a path, a list of picture files, a datasets.Dataset or {DEMO!r}; got "
        f"{type(source).__name__}. For pictures in memory use ImageSet.from_images."
    )


def _pictures(files: ImageFiles) -> ImageListing:
    absent = [str(path) for path in files.paths if not path.is_file()]
    if absent:
        raise DataError(f"No such picture files: {some(absent)}.")
    keys = tuple(str(path.absolute()) for path in files.paths)
    names = tuple(path.as_posix() for path in files.paths)
    if len({path.name for path in files.paths}) == len(keys):
        names = tuple(path.name for path in files.paths)
    return ImageListing.of(files, names, keys)


def _column(listing: ImageListing, name: str, required: bool) -> Sequence[Value]:
    if name in listing.columns:
        return listing.columns[name]
    if required:
        raise DataError(
            f"{listing.label} has no column {name!r}; its columns: "
            f"{', '.join(listing.columns) or 'none, for there is no metadata'}."
        )
    return (None,) * len(listing.names)


def _contributors(listing: ImageListing, origin: str | None, column: str) -> Sequence[Value]:
    if origin == "none":
        return (None,) * len(listing.names)
    if origin == "folder":
        return first_folder(listing.names)
    required = origin == "column" or column != "contributor"
    # A stray blank must not make two people of one.
    values = _column(listing, column, required)
    return [None if value is None else value.strip() or None for value in values]


def _labels(listing: ImageListing, origin: str | None, column: str) -> Labels:
    if origin == "none":
        return (None,) * len(listing.names), None
    if origin == "folder":
        return class_indices(parent_folder(listing.names), "folder", numbers=False)
    values = _column(listing, column, required=origin == "column" or column != "label")
    return class_indices(values, column, listing.classes)


def _fits(images: ImageSet, spec: ImageSpec) -> None:
    if spec.size is not None and images.shape[1:] != (spec.size, spec.size):
        raise DataError(
            f"{images!r} is prepared already and does not have the size {spec.size} asked for. "
            "Load its source with that size."
        )
