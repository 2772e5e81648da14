"""Captions from a template over what else is known of a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import Formatter

from creditline.data.listing import some
from creditline.errors import DataError, SettingsError, unknown


def fill(
    template: str, columns: Mapping[str, Sequence[str | None]], names: Sequence[str]
) -> list[str]:
    """A caption for every picture.

    Args:
        template: text with names of columns in braces, as `"an icon of {label} by {contributor}"`.
        columns: values by name, one for each picture.
        names: of the pictures, for messages.

    Raises:
        SettingsError: if the template has no column in it, one that does not exist, or braces
            that hold anything but a name.
        DataError: if a picture has no value in a column of it.
    """
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
            "but their names. For one caption of all pictures give a caption (--caption)."
        )
    for field in fields:
        if field not in columns:
            raise unknown("column of the prompt template", field, columns)
        lacking = [name for name, v in zip(names, columns[field], strict=True) if v is None]
        if lacking:
            raise DataError(
                f"{len(lacking)} of {len(names)} pictures have no {field!r} for the prompt "
                f"template: {some(lacking)}. Fill in the metadata, or use another column."
            )
    rows = range(len(names))
    return [template.format_map({field: columns[field][row] for field in fields}) for row in rows]
