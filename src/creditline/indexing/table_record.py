"""The record of a table's version: size and checksum of every file that belongs to it.

It is a file beside the table, `table-VERSION.json`, and the manifest names its checksum. Files are
checked when they are first needed in a process: those that describe the version when the table is
opened, those of rows before the rows are read. Facts, which every trace reads, have a checksum of
their own, so that a trace does not have to read all features.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from creditline.checksum import FileRecord, of_bytes, records_from_json, records_to_json
from creditline.indexing.table_files import DATA
from creditline.json_schema import FILES, FINGERPRINT, JsonSchema, integer, obj
from creditline.stored_json import read_json, write_json

ADVICE = (
    "Restore the index from a backup, or build it again with `creditline index` and --overwrite."
)


SCHEMA = JsonSchema(obj({"version": integer(1), "files": FILES, "facts": FINGERPRINT}))


@dataclass(frozen=True)
class TableRecord:
    """Files and facts of one version.

    Attributes:
        version: of the table.
        files: by path below the table's folder.
        facts: checksum of the facts of all rows.
    """

    version: int
    files: Mapping[str, FileRecord]
    facts: str

    @classmethod
    def read(cls, folder: Path, version: int, checksum: str) -> Self:
        """Read the record of a version.

        Args:
            folder: the index.
            version: of the table.
            checksum: of the record, as the manifest names it.

        Raises:
            DamageError: if it is missing or damaged.
        """
        values = read_json(_path(folder, version), ADVICE, SCHEMA, checksum)
        return cls(values["version"], records_from_json(values["files"]), values["facts"])

    def write(self, folder: Path) -> str:
        """Write the record and return its checksum."""
        values = {"version": self.version, "facts": self.facts}
        return write_json(
            _path(folder, self.version), {**values, "files": records_to_json(self.files)}
        )

    def check(self, table: Path, names: Iterable[str] | None = None) -> None:
        """Check files, once in a process.

        Args:
            table: folder of the table.
            names: paths below it; by default of the files that describe the version.

        Raises:
            DamageError: naming the file that is missing or damaged.
        """
        if names is None:
            names = [name for name in self.files if not name.startswith(f"{DATA}/")]
        for name in names:
            self.files[name].check(table / name, ADVICE)


def remove_other_records(folder: Path, versions: Iterable[int]) -> None:
    """Remove all records but those of some versions."""
    names = {_path(folder, version).name for version in versions}
    for path in folder.glob("table-*.json"):
        if path.name not in names:
            path.unlink(missing_ok=True)


def facts_checksum(facts: pa.Table) -> str:
    """Checksum of columns of text and whole numbers, independent of how they are stored."""
    parts = []
    for name in facts.column_names:
        column = facts.column(name).combine_chunks()
        known = np.asarray(column.is_valid())
        if pa.types.is_string(column.type):
            filled = pc.fill_null(column, "")
            sizes = np.asarray(pc.binary_length(filled))
            first, last = filled.offset, filled.offset + len(filled)
            offsets = np.frombuffer(filled.buffers()[1], np.int32)
            text = memoryview(filled.buffers()[2] or b"")[offsets[first] : offsets[last]]
            parts += [name.encode(), known.tobytes(), sizes.tobytes(), text]
        else:
            values = np.asarray(pc.fill_null(column, 0))
            parts += [name.encode(), known.tobytes(), values.tobytes()]
    return of_bytes(*parts)


def _path(folder: Path, version: int) -> Path:
    return folder / f"table-{version}.json"
