"""Contributors, captions and classes of listed images, read as a `MetadataSpec` says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from creditline.data.captions import Captions
from creditline.data.image_listing import ImageListing, Value
from creditline.data.labels import Labels, class_indices, first_folder, parent_folder
from creditline.data.metadata_spec import MetadataSpec
from creditline.data.names import compose, normalize_name, normalize_names
from creditline.data.plain_values import choose_captions, require_plain_values
from creditline.data.template import fill_template, template_columns
from creditline.errors import DataError

T = TypeVar("T")


@dataclass(frozen=True)
class ImageMetadata:
    """Metadata of n images, as `ImageSet` takes them.

    Attributes:
        contributors, texts: one value per image, or None.
        captions: all captions of images that have several, if they were asked for.
        labels: class index of each image, or None.
        label_names: name of each class, where classes have names.
        columns: all other metadata columns.
    """

    contributors: Sequence[Value]
    texts: Sequence[Value]
    captions: Sequence[Captions | None] | None
    labels: Sequence[int | None]
    label_names: tuple[str, ...] | None
    columns: Mapping[str, Sequence[Value]]

    def take(self, rows: Sequence[int]) -> dict[str, Any]:
        """Return the metadata of some images as keyword arguments of `ImageSet`."""

        def pick(values: Sequence[T]) -> list[T]:
            return [values[row] for row in rows]

        return {
            "contributors": pick(self.contributors),
            "texts": pick(self.texts),
            "captions": None if self.captions is None else pick(self.captions),
            "labels": pick(self.labels),
            "label_names": self.label_names,
            "columns": {name: pick(values) for name, values in self.columns.items()},
        }


def read_metadata(listing: ImageListing, spec: MetadataSpec) -> ImageMetadata:
    """Read what `spec` asks for from the metadata and folders of listed images.

    Raises:
        DataError: if a required column is absent, or its values do not fit.
        SettingsError: if the prompt template names no or unknown columns.
    """
    contributors = _contributors(listing, spec)
    column = spec.text_column
    values = _column(listing, column, required=column != "text")
    texts: Sequence[Value]
    texts, captions = choose_captions(values, spec.captions, column, listing.names)
    labels, label_names = _labels(listing, spec)
    further = {
        name: [None if value is None else compose(value) for value in values]
        for name, values in listing.columns.items()
    }
    if spec.prompt_template is not None:
        known = template_columns(further, contributors, texts, labels, label_names)
        texts = fill_template(spec.prompt_template, known, listing.names)
    used = {spec.text_column}
    if spec.contributors in ("auto", "column"):
        used.add(spec.contributor_column)
    if spec.labels in ("auto", "column"):
        used.add(spec.label_column)
    columns = {name: values for name, values in further.items() if name not in used}
    return ImageMetadata(contributors, texts, captions, labels, label_names, columns)


def _column(listing: ImageListing, name: str, required: bool) -> Sequence[Value]:
    if name in listing.columns:
        return listing.columns[name]
    if required:
        raise DataError(
            f"{listing.label} has no column {name!r}; its columns: "
            f"{', '.join(listing.columns) or 'none, for there is no metadata'}."
        )
    return (None,) * len(listing.names)


def _contributors(listing: ImageListing, spec: MetadataSpec) -> Sequence[Value]:
    if spec.contributors == "none":
        return (None,) * len(listing.names)
    if spec.contributors == "folder":
        return first_folder(listing.names)
    column = spec.contributor_column
    required = spec.contributors == "column" or column != "contributor"
    values = _column(listing, column, required)
    require_plain_values(values, column, listing.names)
    # A stray blank or another form of an accent must not make two people of one.
    return normalize_names(values)


def _labels(listing: ImageListing, spec: MetadataSpec) -> Labels:
    if spec.labels == "none":
        return (None,) * len(listing.names), None
    if spec.labels == "folder":
        return class_indices(parent_folder(listing.names), "folder", numbers=False)
    column = spec.label_column
    values = _column(listing, column, required=spec.labels == "column" or column != "label")
    require_plain_values(values, column, listing.names)
    classes = listing.classes and tuple(normalize_name(name) for name in listing.classes)
    try:
        return class_indices(normalize_names(values), column, classes)
    except DataError as error:
        raise DataError(f"{listing.label}: {error}") from error
