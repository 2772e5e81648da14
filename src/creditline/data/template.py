"""Captions from a template over what else is known of an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import Formatter
from typing import TYPE_CHECKING

from creditline.data.image_listing import Value, abbreviate
from creditline.errors import DataError, SettingsError, unknown

if TYPE_CHECKING:
    from creditline.data.image_set import ImageSet


def fill_template(
    template: str, columns: Mapping[str, Sequence[str | None]], names: Sequence[str]
) -> list[str]:
    """A caption for every image.

    Args:
        template: text with names of columns in braces, as `"an icon of {label} by {contributor}"`.
        columns: values by name, one for each image.
        names: of the images, for messages.

    Raises:
        SettingsError: if the template has no column in it, one that does not exist, or braces
            that hold anything but a name.
        DataError: if an image has no value in a column of it.
    """
    fields = _fields(template)
    for field in fields:
        if field not in columns:
            raise unknown("column of the prompt template", field, columns)
        lacking = [name for name, v in zip(names, columns[field], strict=True) if v is None]
        if lacking:
            raise DataError(
                f"{len(lacking)} of {len(names)} images have no {field!r} for the prompt "
                f"template: {abbreviate(lacking)}. Fill in the metadata, or use another column."
            )
    return [_fill(template, columns, row) for row in range(len(names))]


def caption_queries(images: ImageSet, template: str | None) -> ImageSet:
    """Queries captioned as the training images were.

    An image with a value in every column of the template gets its caption from it, like a training
    image. Any other keeps the caption that it has, if any: generated images come without such
    columns, and with a record of the prompt that they were drawn from.

    Args:
        images: queries.
        template: that made the training images' captions; None if none did.

    Raises:
        SettingsError: as `fill_template`, except that columns may be missing.
    """
    if template is None:
        return images
    fields = _fields(template)
    columns = template_columns(
        images.columns, images.contributors, images.texts, images.labels, images.label_names
    )

    def full(row: int) -> bool:
        return all(field in columns and columns[field][row] is not None for field in fields)

    texts = [
        _fill(template, columns, row) if full(row) else text
        for row, text in enumerate(images.texts)
    ]
    return images.captioned(texts, template)


def template_columns(
    columns: Mapping[str, Sequence[Value]],
    contributors: Sequence[Value],
    texts: Sequence[Value],
    labels: Sequence[int | None],
    label_names: Sequence[str] | None,
) -> dict[str, Sequence[Value]]:
    """What a template may name; classes go by their names, or numbers where they have none."""
    names = label_names
    label_texts = [None if x is None else str(x) if names is None else names[x] for x in labels]
    return {**columns, "contributor": contributors, "text": texts, "label": label_texts}


def _fields(template: str) -> list[str]:
    """The columns that a template names."""
    try:
        pieces = list(Formatter().parse(template))
    except ValueError as error:
        raise SettingsError(
            f"The prompt template {template!r} cannot be read ({error}). Write columns in braces, "
            "such as {label}."
        ) from error
    fields = [field for _, field, _, _ in pieces if field is not None]
    if not fields or any(spec or conversion for _, _, spec, conversion in pieces):
        raise SettingsError(
            f"The prompt template {template!r} must name one column or more in braces, and nothing "
            "but their names. For one caption of all images give a caption (--caption)."
        )
    return fields


def _fill(template: str, columns: Mapping[str, Sequence[Value]], row: int) -> str:
    # Not str.format, which would look up {a.b} as an attribute and {a[0]} as an item.
    pieces = Formatter().parse(template)
    return "".join(
        text + ("" if field is None else str(columns[field][row])) for text, field, _, _ in pieces
    )
