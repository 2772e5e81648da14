"""The store: one Lance table of training images and their features, written shard by shard.

A shard's rows are written first as a data file of their own; a small JSON file, moved into place
atomically, then declares them written. A process killed in between leaves a data file that nothing
refers to, and the shard is computed again. When all shards are declared, one commit makes them a
table, or appends them to it. Rows are in image order whatever order the shards finished in.

Every commit is a version of the table, and a store reads the one that the index's manifest names.
What was committed and not named yet, by a process that was killed, is undone by the next commit.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from creditline.data.image_set import ImageSet
from creditline.errors import CreditlineError
from creditline.features.table import chunk_rows
from creditline.files import write_file
from creditline.indexing.table_schema import KEY, THUMBNAIL, Kind, TableSchema
from creditline.indexing.thumbnail import as_png

TABLE = "images.lance"
SHARDS = "shards"


class Store:
    """The table of one index folder.

    Args:
        folder: the index.
        schema: columns of the table.
        version: of the table; the latest by default.
        shards: name of the folder of declarations.
    """

    def __init__(
        self,
        folder: Path,
        schema: TableSchema,
        version: int | None = None,
        shards: str = SHARDS,
    ) -> None:
        self.folder = folder
        self.schema = schema
        self.models, self.dim, self.halves = schema.models, schema.dim, schema.halves
        self.version = version
        self.shards = folder / shards
        self._uri = str(folder / TABLE)
        self._dataset: Any = None
        self._facts: dict[str, list] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_dataset": None, "_facts": None}

    # Writing

    def finished(self) -> set[int]:
        """Numbers of the shards that are declared written."""
        return {int(path.stem) for path in self.shards.glob("*.json")}

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
        mode = "create" if self.version is None else "append"
        fragments = write_fragments(table, self._uri, schema=table.schema, mode=mode)
        declared = json.dumps([fragment.to_json() for fragment in fragments])
        path = self.shards / f"{number:06d}.json"
        write_file(path, lambda p: p.write_text(declared), overwrite=True)

    def commit(self, shards: int) -> int:
        """Make the declared shards one table, in shard order; its version."""
        import lance

        operation = lance.LanceOperation.Overwrite(self.schema.arrow(), self._declared(shards))
        return self._committed(lance.LanceDataset.commit(self._uri, operation))

    def append(self, shards: int) -> int:
        """Append the declared shards to the table, in shard order; its new version."""
        import lance

        base = self._base()
        operation = lance.LanceOperation.Append(self._declared(shards))
        return self._committed(
            lance.LanceDataset.commit(self._uri, operation, read_version=base.version)
        )

    def delete(self, rows: Sequence[int] | np.ndarray, purge: bool = False) -> int:
        """Take rows out of the table; its new version.

        Args:
            rows: positions.
            purge: write what stays anew, so that nothing of these rows is left in any file; former
                versions of the table are lost with them.
        """
        base = self._base()
        keys = base.to_table(columns=[KEY]).column(KEY).to_numpy()[np.asarray(rows)]
        base.delete(f"{KEY} in ({', '.join(map(str, keys))})")
        if purge:
            base.optimize.compact_files(materialize_deletions_threshold=0.0)
        return base.latest_version

    def clean(self) -> None:
        """Delete all versions of the table but this one."""
        self._open().cleanup_old_versions(older_than=timedelta(0), delete_unverified=True)

    def opened_version(self) -> int:
        """The version that is read."""
        return self._open().version

    def next_key(self) -> int:
        """The first number that no row has had as its key, as far as is known."""
        return int(self._open().to_table(columns=[KEY]).column(KEY).to_numpy().max()) + 1

    def _base(self) -> Any:
        """The table for writing, at this store's version; later commits are undone."""
        base = self._open()
        if base.latest_version != base.version:
            base.restore()
        self._dataset, self._facts = None, None
        return base

    def _declared(self, shards: int) -> list[Any]:
        from lance.fragment import FragmentMetadata

        paths = [self.shards / f"{i:06d}.json" for i in range(shards)]
        return [
            FragmentMetadata.from_json(json.dumps(declared))
            for path in paths
            for declared in json.loads(path.read_text())
        ]

    def _committed(self, dataset: Any) -> int:
        """Version of a table whose commit is done; drop what killed processes left behind."""
        self._dataset, self._facts, self.version = None, None, dataset.version
        self._remove_orphans()
        return self.version

    def clear_shards(self) -> None:
        """Remove the declarations once the manifest says the index is complete."""
        shutil.rmtree(self.shards, ignore_errors=True)

    def _remove_orphans(self) -> None:
        """Delete data files that killed processes left behind."""
        used = {f.path for x in self._open().get_fragments() for f in x.metadata.files}
        for path in (self.folder / TABLE / "data").glob("*.lance"):
            if path.name not in used:
                path.unlink()

    # Reading

    def _open(self) -> Any:
        if self._dataset is None:
            import lance

            try:
                self._dataset = lance.dataset(self._uri, version=self.version)
            except (ValueError, OSError) as error:
                raise CreditlineError(
                    f"The image table of index {self.folder} cannot be opened ({error}). "
                    "Restore it from a backup or build the index again."
                ) from error
        return self._dataset

    def __len__(self) -> int:
        return self._open().count_rows()

    def facts(self) -> dict[str, list]:
        """Every column but thumbnails and features, in row order; read once."""
        if self._facts is None:
            columns = list(self.schema.facts)
            self._facts = self._open().to_table(columns=columns).to_pydict()
        return self._facts

    def facts_of(self, rows: Sequence[int] | np.ndarray, columns: Sequence[str]) -> dict[str, list]:
        """Some columns of some rows."""
        return self._open().take([int(r) for r in rows], columns=list(columns)).to_pydict()

    def thumbnails(self, rows: Sequence[int]) -> list[bytes]:
        """PNG bytes of some training images, at most 128 px on a side."""
        if not len(rows):
            return []
        table = self._open().take(list(rows), columns=[THUMBNAIL])
        return [as_png(thumbnail) for thumbnail in table.column(THUMBNAIL).to_pylist()]

    def digest(self) -> str:
        """Hash of every column in row order, independent of files, fragments and versions.

        Not of the key, which only says in which order rows were written.
        """
        digest = hashlib.sha256()
        for batch in self._open().to_batches(batch_size=1):
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                if name == KEY:
                    continue
                digest.update(f"{name}={column.to_pylist()!r};".encode())
        return digest.hexdigest()

    def chunks(self, model: int, kind: Kind = "feature") -> Iterator[tuple[int, np.ndarray]]:
        """Features of one model, or their errors: float64, about 1,024 rows at a time, in order."""
        columns = self.schema.columns(kind, model)
        names = [name for unit, norm, _ in columns for name in (unit, norm)]
        start, held, count = 0, [], 0
        size = chunk_rows(self.dim)
        for batch in self._open().to_batches(columns=names, batch_size=size):
            parts = []
            for unit, norm, place in columns:
                width = place.stop - place.start
                rows = batch.column(unit).values.to_numpy().reshape(-1, width)
                norms = batch.column(norm).to_numpy()
                parts.append(rows.astype(np.float64) * norms[:, None])
            held.append(parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1))
            count += len(held[-1])
            if count >= size:
                yield start, np.concatenate(held)
                start, held, count = start + count, [], 0
        if held:
            yield start, np.concatenate(held)
