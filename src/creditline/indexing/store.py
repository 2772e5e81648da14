"""The store: one Lance table of training images and their features, written shard by shard.

A shard's rows are written first as a data file of their own; a small JSON file, moved into place
atomically, then declares them written. A process killed in between leaves a data file that nothing
refers to, and the shard is computed again. When all shards are declared, one commit makes them a
table, or appends them to it. Rows are in image order whatever order the shards finished in.

Every commit is a version of the table, and a store reads the one that the index's manifest names,
even where a newer one is damaged. What was committed and not named yet, by a process that was
killed, is undone by the next commit. Files reach the disk before what names them: data before a
shard's declaration, versions before the manifest. All are checked; see `table_record`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from creditline.checksum import FileRecord
from creditline.data.image_set import ImageSet
from creditline.features.table import chunk_rows
from creditline.indexing.feature_columns import FeatureColumns
from creditline.indexing.shard_files import ShardFiles
from creditline.indexing.table_files import (
    DATA,
    files_of,
    remove_drafts,
    remove_later_versions,
    remove_other_files,
)
from creditline.indexing.table_record import remove_other_records
from creditline.indexing.table_schema import KEY, THUMBNAIL, TableSchema
from creditline.indexing.table_version import TableVersion, data_files
from creditline.indexing.thumbnail import as_png

SHARDS = "shards"


class Store:
    """The table of one index folder.

    Args:
        folder: the index.
        schema: columns of the table.
        version: of the table; the latest by default.
        checksum: of the version's record, as the manifest names it; nothing is checked without.
        shards: name of the folder of declarations.
        rows: of the table, as the manifest says; not checked by default.
    """

    def __init__(
        self,
        folder: Path,
        schema: TableSchema,
        version: int | None = None,
        checksum: str | None = None,
        shards: str = SHARDS,
        rows: int | None = None,
    ) -> None:
        self.folder = folder
        self.schema = schema
        self.models, self.dim, self.halves = schema.models, schema.dim, schema.halves
        shape = None if rows is None else (schema.arrow(), rows)
        self.version = TableVersion(folder, version, checksum, shape)
        self.shards = ShardFiles(folder / shards, self.version.path)
        self._facts: dict[str, list] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_facts": None}

    # Writing

    def finished(self) -> set[int]:
        """Numbers of the shards that are declared written; see `ShardFiles.finished`."""
        return self.shards.finished()

    def write_shard(
        self,
        number: int,
        images: ImageSet,
        indices: Sequence[int],
        features: np.ndarray,
        first: int = 0,
    ) -> None:
        """Write one shard and declare it.

        Args:
            number: of the shard.
            images: the training set, or what is added to it.
            indices: positions that form the shard.
            features: float32 of shape `(b, units, C, k)`: the features, and with halves their
                errors.
            first: key of the first of the images.

        Raises:
            NumericsError: if a feature is not finite; the image is named.
        """
        from lance.fragment import write_fragments

        table = self.schema.rows(images, indices, features, first)
        mode = "create" if self.version.number is None else "append"
        path = str(self.version.path)
        fragments = write_fragments(table, path, schema=table.schema, mode=mode)
        names = data_files(fragments)
        self.version.flush(names)
        self.shards.declare(number, fragments, names)

    def commit(self, shards: int) -> dict[str, Any]:
        """Make the declared shards one table, in shard order.

        Returns:
            Facts for the manifest, which name the version and the record of its files.
        """
        import lance

        fragments, files = self.shards.read(shards)
        remove_later_versions(self.version.path, 0)
        operation = lance.LanceOperation.Overwrite(self.schema.arrow(), fragments)
        dataset = lance.LanceDataset.commit(str(self.version.path), operation)
        return self._become(dataset.version, files)

    def append(self, shards: int) -> dict[str, Any]:
        """Append the declared shards to the table, in shard order; returns as `commit`."""
        import lance

        base, known = self._base(), self.version.records()
        fragments, files = self.shards.read(shards)
        operation = lance.LanceOperation.Append(fragments)
        path = str(self.version.path)
        dataset = lance.LanceDataset.commit(path, operation, read_version=base.version)
        return self._become(dataset.version, {**known, **files})

    def delete(self, rows: Sequence[int] | np.ndarray, purge: bool = False) -> dict[str, Any]:
        """Take rows out of the table; returns as `commit`, and still reads the former version.

        Args:
            rows: positions.
            purge: write what stays anew, so that nothing of these rows is left in any file; former
                versions of the table are lost with them.
        """
        self.version.check()  # before they are written anew
        base, known = self._base(), self.version.records()
        keys = base.to_table(columns=[KEY]).column(KEY).to_numpy()[np.asarray(rows)]
        base.delete(f"{KEY} in ({', '.join(map(str, keys))})")
        if purge:
            base.optimize.compact_files(materialize_deletions_threshold=0.0)
        after = Store(self.folder, self.schema, base.latest_version)
        return after._seal(known)

    def clean(self) -> None:
        """Delete all versions of the table but this one."""
        dataset, table = self.version.open(), self.version.path
        remove_other_files(table, dataset.version, files_of(dataset, table))
        remove_other_records(self.folder, [dataset.version])

    def opened_version(self) -> int:
        """The version that is read."""
        return self.version.open().version

    def next_key(self) -> int:
        """The first number that no row has had as its key, as far as is known."""
        keys = self.version.check().to_table(columns=[KEY]).column(KEY).to_numpy()
        return int(keys.max()) + 1

    def _base(self) -> Any:
        """The table for writing, at this store's version; later commits are undone."""
        remove_later_versions(self.version.path, self.opened_version())
        version = TableVersion(self.folder, self.version.number, self.version.checksum)
        return version.open()

    def _become(self, version: int, known: Mapping[str, FileRecord]) -> dict[str, Any]:
        """Read a version that was committed; drop what killed processes left behind."""
        self.version, self._facts = TableVersion(self.folder, version, None), None
        self._remove_orphans()
        return self._seal(known)

    def _seal(self, known: Mapping[str, FileRecord]) -> dict[str, Any]:
        version = self.version
        remove_drafts(version.path)
        version.seal(known, self.schema.facts)
        return {"table_version": version.number, "table_checksum": version.checksum}

    def clear_shards(self) -> None:
        """Remove the declarations once the manifest says the index is complete."""
        self.shards.clear()

    def _remove_orphans(self) -> None:
        """Delete data files that killed processes left behind."""
        used = set(data_files(self.version.open().get_fragments()))
        for path in (self.version.path / DATA).glob("*.lance"):
            if f"{DATA}/{path.name}" not in used:
                path.unlink()

    # Reading

    def __len__(self) -> int:
        return self.version.open().count_rows()

    def facts(self) -> dict[str, list]:
        """Every column but thumbnails and features, in row order; read once.

        Raises:
            DamageError: if they are not those that were written.
        """
        if self._facts is None:
            self._facts = self.version.facts(self.schema.facts).to_pydict()
        return self._facts

    def facts_of(self, rows: Sequence[int] | np.ndarray, columns: Sequence[str]) -> dict[str, list]:
        """Some columns of some rows."""
        dataset = self.version.check(rows)
        with self.version.reading():
            return dataset.take([int(r) for r in rows], columns=list(columns)).to_pydict()

    def take(self, rows: np.ndarray, names: Sequence[str]) -> Any:
        """A record batch of some columns of some rows, in the order of the rows."""
        dataset = self.version.check(rows)
        with self.version.reading():
            table = dataset.take(rows.tolist(), columns=list(names))
        return table.combine_chunks().to_batches()[0]

    def thumbnails(self, rows: Sequence[int]) -> list[bytes]:
        """PNG bytes of some training images, at most 128 px on a side."""
        if not len(rows):
            return []
        dataset = self.version.check(rows)
        with self.version.reading():
            table = dataset.take(list(rows), columns=[THUMBNAIL])
        return [as_png(thumbnail) for thumbnail in table.column(THUMBNAIL).to_pylist()]

    def digest(self) -> str:
        """Hash of every column in row order, independent of files, fragments and versions.

        Not of the key, which only says in which order rows were written.
        """
        digest = hashlib.sha256()
        for batch in self._batches(batch_size=1):
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                if name == KEY:
                    continue
                digest.update(f"{name}={column.to_pylist()!r};".encode())
        return digest.hexdigest()

    def chunks(self, columns: Sequence[FeatureColumns]) -> Iterator[tuple[int, np.ndarray]]:
        """Features of some columns side by side: float64, about 1,024 rows at a time, in order."""
        start, held, count = 0, [], 0
        size = chunk_rows(sum(own.size for own in columns))
        for batch in self.batches([name for own in columns for name in own.names], size):
            parts = [own.decode(batch) for own in columns]
            held.append(parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1))
            count += len(held[-1])
            if count >= size:
                yield start, np.concatenate(held)
                start, held, count = start + count, [], 0
        if held:
            yield start, np.concatenate(held)

    def _batches(self, **settings: Any) -> Iterator[Any]:
        """Batches of rows, in order, after a check of all files."""
        batches = iter(self.version.check().to_batches(**settings))
        while True:
            with self.version.reading():
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def batches(self, names: Sequence[str], size: int) -> Iterator[Any]:
        """Record batches of some columns, of at most `size` rows each, in order."""
        return self._batches(columns=list(names), batch_size=size)
