"""metadata.csv, .jsonl and .parquet as Hugging Face's imagefolder has them, matched to files.

A metadata file describes images in its own folder and below: column `file_name` is a path
relative to it. Once there is metadata, every image needs exactly one row and every row a file.
All values are kept as strings; empty ones become None. Numbers, lists and objects of JSON lines
and Parquet are kept as JSON text. Columns without a name are dropped.
"""

from __future__ import annotations

import csv
import io
import json
import posixpath
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

from creditline.data.files import ArchiveFiles, FolderFiles, is_image_file
from creditline.data.image_listing import ImageListing, Value, abbreviate
from creditline.errors import DataError

KINDS = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
FILE = "file_name"

MetadataRow = dict[str, Value]


def list_files(
    source: FolderFiles | ArchiveFiles, skip_bad: bool = False, aside: str | None = None
) -> ImageListing:
    """List the images of a folder or zip file together with their metadata.

    Args:
        source: where to look.
        skip_bad: leave out rows without a file and files without a row, and list them.
        aside: a column that names further files, which are no images of the set.

    Raises:
        DataError: if there is no image, metadata cannot be parsed, or rows and files do not
            match one to one.
    """
    files = source.files()
    tables = [file for file in files if PurePosixPath(file).name in KINDS]
    images = [file for file in files if is_image_file(file)]
    if not tables:
        if not images:
            among = f" among its {len(files)} files" if files else ""
            raise DataError(
                f"{source.label} holds no image{among}. Give a folder or zip file with "
                ".png, .jpg, .webp or other images in it or below it."
            )
        return ImageListing.of(source, images, images)
    _one_kind_per_folder(tables)

    present = set(files)
    spelt = {unicodedata.normalize("NFC", file): file for file in files}
    rows: dict[str, MetadataRow] = {}
    without_file: list[str] = []
    origin: dict[str, str] = {}
    names: dict[str, None] = {}  # an ordered set of column names
    for table in tables:
        unit = "row" if table.endswith(".parquet") else "line"
        for line, row in _rows(source, table):
            where = f"{table}, {unit} {line}"
            file_name = row.pop(FILE, None)
            if not file_name:
                raise DataError(f"{where}: {FILE} is empty. Name the image or remove the row.")
            file = posixpath.normpath(posixpath.join(posixpath.dirname(table), file_name))
            if file not in present:  # systems differ in separators and in composing accents
                file = spelt.get(unicodedata.normalize("NFC", file.replace("\\", "/")), file)
            if file not in present:
                without_file.append(f"{file_name} ({where})")
                continue
            if file in rows:
                raise DataError(
                    f"{file} is described twice: {origin[file]} and {where}. Keep one row."
                )
            rows[file], origin[file] = row, where
            names |= dict.fromkeys(row)

    named = {posixpath.normpath(row.get(aside) or ".") for row in rows.values()} if aside else set()
    without_row = [file for file in images if file not in rows and file not in named]
    if without_file and not skip_bad:
        raise DataError(
            f"{len(without_file)} metadata rows name files that are not there: "
            f"{abbreviate(without_file)}. {FILE} is relative to the metadata file. Correct or "
            "remove the rows, or skip them with skip_bad (--skip-bad)."
        )
    if without_row and not skip_bad:
        raise DataError(
            f"{len(without_row)} images have no row in {abbreviate(tables)}: "
            f"{abbreviate(without_row)}. Add rows, move the images elsewhere, or skip them with "
            "skip_bad (--skip-bad)."
        )
    skipped = [(item, "a metadata row without a file") for item in without_file]
    skipped += [(item, "an image without a metadata row") for item in without_row]
    matched = sorted(rows)
    if not matched:
        raise DataError(f"{source.label} holds no image that its metadata describes.")
    columns = {name: tuple(rows[file].get(name) for file in matched) for name in names}
    return ImageListing.of(source, matched, matched, columns, skipped=tuple(skipped))


def text_of(value: Any) -> Value:
    """A metadata value as text: None if missing or empty, JSON unless it is a string."""
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _one_kind_per_folder(tables: Sequence[str]) -> None:
    folders: dict[str, str] = {}
    for table in tables:
        other = folders.setdefault(posixpath.dirname(table), table)
        if other != table:
            raise DataError(f"{other} and {table} lie in one folder. Keep one of them.")


def _rows(source: FolderFiles | ArchiveFiles, table: str) -> Iterator[tuple[int, MetadataRow]]:
    data = source.read(table)
    kind = PurePosixPath(table).suffix
    if kind == ".parquet":
        parsed = _parquet(data, table)
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"{table} is not UTF-8 text ({error}). Save it as UTF-8.") from error
        parsed = _csv(text, table) if kind == ".csv" else _jsonl(text, table)
    for line, row in parsed:
        if FILE not in row:
            columns = ", ".join(repr(name) for name in row) or "none"
            raise DataError(
                f"{table} has no column {FILE!r}; its columns: {columns}. Name the column with the "
                "images' paths so, and separate columns of a csv with commas."
            )
        yield line, {name: value for name, value in row.items() if name}


def _csv(text: str, table: str) -> Iterator[tuple[int, MetadataRow]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        twice = {name for name in header if name and header.count(name) > 1}
        if twice:
            raise DataError(
                f"{table} has two columns called {abbreviate(sorted(twice))}. Rename one."
            )
        if FILE not in header:
            yield 1, dict.fromkeys(header)
        for fields in reader:
            if not fields:
                continue
            if len(fields) > len(header):
                raise DataError(
                    f"{table}, line {reader.line_num}: {len(fields)} fields under "
                    f"{len(header)} columns. Put texts that contain commas in double quotes."
                )
            padded = fields + [""] * (len(header) - len(fields))
            yield reader.line_num, dict(zip(header, map(text_of, padded), strict=True))
    except csv.Error as error:
        raise DataError(f"{table}, line {reader.line_num}: not valid csv ({error}).") from error


def _jsonl(text: str, table: str) -> Iterator[tuple[int, MetadataRow]]:
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            row = json.loads(content)
        except ValueError as error:
            raise DataError(f"{table}, line {line}: not valid JSON ({error}).") from error
        if not isinstance(row, dict):
            raise DataError(f"{table}, line {line}: expected one JSON object per line.")
        yield line, {name: text_of(value) for name, value in row.items()}


def _parquet(data: bytes, table: str) -> Iterator[tuple[int, MetadataRow]]:
    import pyarrow
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.read_table(pyarrow.BufferReader(data)).to_pylist()
    except pyarrow.ArrowException as error:
        raise DataError(f"{table} cannot be read as Parquet ({error}).") from error
    for line, row in enumerate(rows, start=1):
        yield line, {name: text_of(value) for name, value in row.items()}
