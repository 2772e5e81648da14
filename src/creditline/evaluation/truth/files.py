"""The files of a ground truth: two arrays and two tables."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from creditline import stored_arrays
from creditline.checksum import FileRecord, records_from_json, records_to_json
from creditline.csv_table import csv_cell, original_text, quoting
from creditline.errors import DataError
from creditline.files import write_file
from creditline.json_schema import FILES, JsonSchema
from creditline.stored_json import read_json, write_json

IMAGES = ("id", "name", "contributor", "label")
QUERIES = ("folder", "id", "name")
TABLES = ("images.csv", "queries.csv")
RECORD = "tables.json"
"""Checksums of the tables, which have no place for their own."""
ADVICE = (
    "Restore it from a backup, or delete the folder and make it again with `creditline evaluate "
    "retrain`."
)


def write_images(path: Path, columns: Sequence[Sequence[object]], rows: int) -> None:
    """Write the table of training images; an unknown value is an empty cell.

    Args:
        path: of the CSV file.
        columns: in the order of `IMAGES`; an empty one is unknown as a whole.
        rows: number of images.
    """
    _write(path, IMAGES, columns, rows)


def write_queries(path: Path, columns: Sequence[Sequence[object]], rows: int) -> None:
    """Write the table of queries, as `write_images` with the columns `QUERIES`."""
    _write(path, QUERIES, columns, rows)


def write_record(folder: Path) -> None:
    """Record the checksums of the two tables."""
    records = {name: FileRecord.of(folder / name) for name in TABLES}
    write_json(folder / RECORD, records_to_json(records))


def import_array(path: Path) -> np.ndarray:
    """Read a `.npy` file from elsewhere; one of ours is checked.

    Raises:
        DataError: if it cannot be read.
        DamageError: if it is of ours and damaged.
    """
    if stored_arrays.has_checksum(path):
        stored_arrays.check_array(path, ADVICE)
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{path} cannot be read as an array ({error}). Give a .npy file that numpy.save wrote."
        ) from error


def read_tables(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Read the two tables as the fields of `GroundTruth`.

    Raises:
        DamageError: if one is missing or damaged.
        DataError: if its contents do not fit.
    """
    records = read_json(folder / RECORD, ADVICE, JsonSchema(FILES))
    for name, record in records_from_json(records).items():
        record.check(folder / name, ADVICE)
    ids, names, contributors, labels = _read(folder / "images.csv", IMAGES)
    folders, query_ids, query_names = _read(folder / "queries.csv", QUERIES)
    try:
        classes = [int(label) if label else None for label in labels]
    except ValueError as error:
        raise DataError(f"{folder / 'images.csv'}: labels are integers ({error}).") from error
    return {
        "image_ids": _nonempty(ids),
        "image_names": _nonempty(names),
        "contributors": tuple(name or None for name in contributors) if any(ids) else (),
        "labels": tuple(classes) if any(ids) else (),
        "query_ids": _nonempty(query_ids),
        "query_names": _nonempty(query_names),
        "query_folders": _nonempty(folders),
    }


def _nonempty(cells: Sequence[str]) -> tuple[str, ...]:
    return tuple(cells) if any(cells) else ()


def _write(
    path: Path, header: Sequence[str], columns: Iterable[Sequence[object]], rows: int
) -> None:
    padded = [
        [csv_cell("" if cell is None else cell) for cell in column or [""] * rows]
        for column in columns
    ]
    style = quoting(cell for column in padded for cell in column)

    def save(draft: Path) -> None:
        with draft.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n", quoting=style)
            writer.writerow(header)
            for row in zip(*padded, strict=True):
                writer.writerow(row)

    write_file(path, save, overwrite=True)


def _read(path: Path, header: Sequence[str]) -> list[tuple[str, ...]]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.reader(stream, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}). Restore it from a backup.") from error
    if not rows or rows[0] != list(header) or any(len(row) != len(header) for row in rows):
        raise DataError(f"{path} does not have the columns {', '.join(header)} in every row.")
    columns = zip(*rows[1:], strict=True)
    return [tuple(map(original_text, column)) for column in columns] or [()] * len(header)
