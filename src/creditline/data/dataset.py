"""A Hugging Face `datasets.Dataset` as a source of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from creditline.data.image_listing import ImageListing, Value
from creditline.data.metadata_rows import text_of
from creditline.data.names import normalize_name
from creditline.data.regular_file import read_regular_file
from creditline.errors import DataError, unknown


class DatasetRows:
    """The image column of a dataset; keys are row numbers. Images stay encoded until read."""

    def __init__(self, dataset: Any, column: str) -> None:
        from datasets import Image

        plain = dataset.with_format(None).select_columns([column])
        self.rows, self.column = plain.cast_column(column, Image(decode=False)), column
        self.label = f"dataset of {len(dataset)} rows, column {column!r}"

    def read(self, key: str) -> bytes:
        """The encoded image of a row; DataError if there is none."""
        value = self.rows[int(key)][self.column]
        if value is None:
            raise DataError(f"row {key}: no image in column {self.column!r}.")
        if value["bytes"] is not None:
            return value["bytes"]
        return read_regular_file(Path(value["path"]), f"row {key}: {value['path']}")


def is_dataset(source: Any) -> bool:
    """Whether `source` comes from the datasets library, without importing it."""
    return any(cls.__module__.split(".")[0] == "datasets" for cls in type(source).__mro__)


def list_dataset(dataset: Any, image_column: str | None, label_column: str) -> ImageListing:
    """List the rows of a dataset; columns other than images, sound and arrays become text.

    Values of class-label columns become class names. The order of the classes of `label_column`
    is that of the dataset.

    Raises:
        DataError: if this is not one split held on disk or in memory, is empty, or has no single
            image column.
    """
    from datasets import ClassLabel, Dataset, Image, Value

    if not isinstance(dataset, Dataset):
        choices = (
            f" Its splits: {', '.join(map(str, dataset))}." if isinstance(dataset, dict) else ""
        )
        raise DataError(
            f"Images load from one datasets.Dataset; got {type(dataset).__name__}.{choices} "
            "Choose a split, and load it without streaming."
        )
    features = dataset.features
    images = [name for name, feature in features.items() if isinstance(feature, Image)]
    if image_column is None:
        if len(images) != 1:
            columns_text = f"image columns {', '.join(images)}" if images else "no image column"
            raise DataError(
                f"The dataset has {columns_text}; its columns: {', '.join(features)}. Choose with "
                "image_column, or cast the column with datasets.Image()."
            )
        image_column = images[0]
    elif image_column not in images:
        raise unknown("image column", image_column, images)
    if len(dataset) == 0:
        raise DataError("The dataset has no rows.")

    text_columns = [name for name, f in features.items() if _is_text(f, Value, ClassLabel)]
    table = dataset.with_format(None).select_columns(text_columns)[:] if text_columns else {}
    columns = {normalize_name(x): _texts(table[x], features[x]) for x in text_columns}
    label = features.get(label_column)
    keys = tuple(str(row) for row in range(len(dataset)))
    width = len(str(len(dataset) - 1))
    return ImageListing.of(
        DatasetRows(dataset, image_column),
        tuple(f"row-{key.zfill(width)}" for key in keys),
        keys,
        columns,
        tuple(label.names) if isinstance(label, ClassLabel) else None,
    )


def _is_text(feature: Any, value: type, label: type) -> bool:
    """Whether a feature becomes text: a plain value, a class, or a list of texts."""
    if isinstance(feature, (value, label)):
        return True
    inner: Any = feature[0] if isinstance(feature, list) else getattr(feature, "feature", None)
    return isinstance(inner, value) and getattr(inner, "dtype", "") in ("string", "large_string")


def _texts(values: list[Any], feature: Any) -> tuple[Value, ...]:
    names = getattr(feature, "names", None)
    if names is None:
        return tuple(text_of(value) for value in values)
    # -1 is the datasets library's mark for an unknown class
    return tuple(None if value is None or value < 0 else names[value] for value in values)
