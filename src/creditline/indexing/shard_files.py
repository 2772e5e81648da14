"""Declarations of the shards that are written: a small JSON file for each, with checksums."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from creditline.checksum import FileRecord, records_from_json, records_to_json
from creditline.errors import DamageError
from creditline.json_schema import ANY, FILES, JsonSchema, array, obj
from creditline.notice import notice
from creditline.stored_json import read_json, write_json

ADVICE = "The shard is computed again."
SCHEMA = JsonSchema(obj({"fragments": array(ANY), "files": FILES}))


class ShardFiles:
    """The declarations in one folder.

    Args:
        folder: of the declarations.
        table: folder of the table that the shards' data files are in.
    """

    def __init__(self, folder: Path, table: Path) -> None:
        self.folder, self.table = folder, table

    def declare(self, number: int, fragments: Sequence[Any], names: Sequence[str]) -> None:
        """Declare a shard written.

        Args:
            number: of the shard.
            fragments: of Lance.
            names: paths of their data files below the table, which are on the disk.
        """
        files = {name: FileRecord.of(self.table / name) for name in names}
        values = {"fragments": [fragment.to_json() for fragment in fragments]}
        write_json(self._path(number), {**values, "files": records_to_json(files)})

    def finished(self) -> set[int]:
        """Numbers of the shards that are declared; a damaged one is forgotten, with a warning."""
        numbers = set()
        for path in self.folder.glob("*.json"):
            try:
                files = read_json(path, ADVICE, SCHEMA)["files"]
                for name, record in records_from_json(files).items():
                    record.check(self.table / name, ADVICE)
            except DamageError as error:
                notice(str(error))
                path.unlink(missing_ok=True)
            else:
                numbers.add(int(path.stem))
        return numbers

    def read(self, shards: int) -> tuple[list[Any], Mapping[str, FileRecord]]:
        """Fragments of all shards in order, and the checksums of their data files.

        Raises:
            DamageError: if a declaration is missing or damaged.
        """
        from lance.fragment import FragmentMetadata

        fragments: list[Any] = []
        files: dict[str, FileRecord] = {}
        for number in range(shards):
            values = read_json(self._path(number), "Run the same command again.", SCHEMA)
            fragments += [FragmentMetadata.from_json(json.dumps(x)) for x in values["fragments"]]
            files |= records_from_json(values["files"])
        return fragments, files

    def clear(self) -> None:
        """Remove the declarations."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.json"
