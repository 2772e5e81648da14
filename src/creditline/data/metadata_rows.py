"""Rows of metadata.csv, .jsonl and .parquet.

All values are kept as strings; empty ones, and numbers that are not a number, become None. Numbers,
lists and objects of JSON lines and Parquet are kept as JSON text. Columns without a name are
dropped.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

from creditline.data.archive_files import ArchiveFiles
from creditline.data.files import FolderFiles
from creditline.data.image_listing import Value, abbreviate
from creditline.data.limits import METADATA_BYTES
from creditline.data.names import normalize_name
from creditline.errors import DataError

FILE = "file_name"

MetadataRow = dict[str, Value]

BATCH = 256
"""Rows of Parquet at once. A few bytes of it can unpack to a large batch."""


def read_rows(source: FolderFiles | ArchiveFiles, table: str) -> Iterator[tuple[str, MetadataRow]]:
    """Read a metadata file.

    Args:
        source: where it lies.
        table: its path; the ending says which kind it is.

    Yields:
        Where the row is, such as `"metadata.csv, line 3"`, and its values by column.

    Raises:
        DataError: if the file is too large or damaged, a value is not valid text, or there is no
            column `file_name`.
    """
    data = source.read(table, METADATA_BYTES)
    kind = PurePosixPath(table).suffix
    if kind == ".parquet":
        parsed = _parquet(data, table)
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"{table} is not UTF-8 text ({error}). Save it as UTF-8.") from error
        parsed = _csv(text, table) if kind == ".csv" else _jsonl(text, table)
    for where, pairs in parsed:
        row: MetadataRow = {}
        for name, value in pairs:
            column = normalize_name(name)
            if column in row and column:
                raise DataError(f"{where}: two columns are called {column}. Rename one.")
            try:
                row[column] = text_of(value)
                _require_unicode(column, row[column])
            except (ValueError, RecursionError) as error:
                raise DataError(
                    f"{where}: the value of {column!r} is no valid text ({error}). Correct it."
                ) from error
        if FILE not in row:
            columns = abbreviate([repr(name) for name in row], 20) or "none"
            raise DataError(
                f"{table} has no column {FILE!r}; its columns: {columns}. Name the column with the "
                "images' paths so, and separate columns of a csv with commas."
            )
        row.pop("", None)
        yield where, row


def text_of(value: Any) -> Value:
    """A metadata value as text: None if missing, empty or NaN, JSON unless it is a string."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _require_unicode(*texts: Value) -> None:
    for text in texts:
        if text is not None and not text.isascii():
            text.encode()  # a lone surrogate could not be stored or shown


def _csv(text: str, table: str) -> Iterator[tuple[str, Iterable[tuple[str, str]]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        twice = sorted(name for name, n in Counter(header).items() if name and n > 1)
        if twice:
            raise DataError(f"{table} has two columns called {abbreviate(twice)}. Rename one.")
        if FILE not in header:
            yield f"{table}, line 1", ((name, "") for name in header)
        for fields in reader:
            if not fields:
                continue
            where = f"{table}, line {reader.line_num}"
            if len(fields) > len(header):
                raise DataError(
                    f"{where}: {len(fields)} fields under {len(header)} columns. Put texts that "
                    "contain commas in double quotes."
                )
            padded = fields + [""] * (len(header) - len(fields))
            yield where, zip(header, padded, strict=True)
    except csv.Error as error:
        raise DataError(f"{table}, line {reader.line_num}: not valid csv ({error}).") from error


def _jsonl(text: str, table: str) -> Iterator[tuple[str, Iterable[tuple[str, Any]]]]:
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        where = f"{table}, line {line}"
        try:
            row = json.loads(content, object_pairs_hook=_JSONObject)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: not valid JSON ({error}).") from error
        if not isinstance(row, _JSONObject):
            raise DataError(f"{where}: expected one JSON object per line.")
        yield where, row.pairs


class _JSONObject(dict):
    """A JSON object that keeps its pairs as written: a name that comes twice is no dictionary."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def _parquet(data: bytes, table: str) -> Iterator[tuple[str, Iterable[tuple[str, Any]]]]:
    import pyarrow
    import pyarrow.parquet

    line = size = 0
    try:
        for batch in pyarrow.parquet.ParquetFile(pyarrow.BufferReader(data)).iter_batches(BATCH):
            size += batch.nbytes
            if size > METADATA_BYTES.value:
                raise DataError(
                    f"{table} unpacks to more than {METADATA_BYTES.value:,} bytes. "
                    f"{METADATA_BYTES.remedy(2 * METADATA_BYTES.value)}"
                )
            batch.validate(full=True)
            names = batch.schema.names
            for i in range(batch.num_rows):
                line += 1
                yield (
                    f"{table}, row {line}",
                    [
                        (name, column[i].as_py())
                        for name, column in zip(names, batch.columns, strict=True)
                    ],
                )
    except DataError:
        raise
    except Exception as error:  # Arrow raises many kinds for damaged files and impossible dates
        raise DataError(
            f"{table} cannot be read as Parquet, after row {line - 1 if line else 0} "
            f"({' '.join(str(error).split())[:200]})."
        ) from error
