"""A version of an index's Lance table, whose files are checked when they are first needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from creditline.checksum import FileRecord, damaged
from creditline.errors import CreditlineError
from creditline.files import flush, use_default_mode
from creditline.indexing.reading import NEVER, unchanged
from creditline.indexing.table_files import DATA, files_of, transactions_of
from creditline.indexing.table_record import ADVICE, TableRecord, facts_checksum

TABLE = "images.lance"
NOT_DAMAGE = (CreditlineError, *NEVER)


class TableVersion:
    """One version, opened when it is first needed, also where a newer one is damaged.

    Args:
        folder: the index.
        number: of the version; the latest by default.
        checksum: of the version's record; None while it has none, and nothing is checked.
        shape: columns and rows that the manifest promises; None where they are not known yet.
    """

    def __init__(
        self,
        folder: Path,
        number: int | None,
        checksum: str | None,
        shape: tuple[pa.Schema, int] | None = None,
    ) -> None:
        self.folder, self.path = folder, folder / TABLE
        self.number, self.checksum, self.shape = number, checksum, shape
        self._dataset: Any = None
        self._record: TableRecord | None = None
        self._ends: np.ndarray | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_dataset": None, "_record": None, "_ends": None}

    def open(self) -> Any:
        """The Lance dataset.

        Raises:
            DamageError: if what describes the version is damaged, or the table is not the one that
                the manifest describes.
        """
        if self._dataset is None:
            import lance

            with self.reading():
                if self.checksum is not None and self.number is not None:
                    self._record = TableRecord.read(self.folder, self.number, self.checksum)
                    self._record.check(self.path)
                dataset = lance.dataset(str(self.path), version=self.number)
            self._require_shape(dataset)
            self._dataset = dataset
        return self._dataset

    def _require_shape(self, dataset: Any) -> None:
        if self.shape is None:
            return
        expected, rows = self.shape
        missing = [f for f in expected if f.name not in dataset.schema.names]
        wrong = [
            f for f in expected if f not in missing and dataset.schema.field(f.name).type != f.type
        ]
        held = dataset.count_rows()
        if held == rows and not missing and not wrong and len(dataset.schema) == len(expected):
            return
        if held != rows:
            what = f"{rows:,} images, and the table holds {held:,}"
        elif missing or wrong:
            field = (missing or wrong)[0]
            other = "none" if missing else str(dataset.schema.field(field.name).type)
            what = f"a column {field.name} of {field.type}, and the table has {other}"
        else:
            what = f"{len(expected)} columns, and the table has {len(dataset.schema)}"
        raise damaged(self.path, ADVICE, f"the manifest describes {what}")

    def check(self, rows: Sequence[int] | np.ndarray | None = None) -> Any:
        """The Lance dataset, after a check of the data files that hold some rows, all by default.

        Raises:
            DamageError: naming the file that is damaged.
        """
        dataset = self.open()
        if self._record is None:
            return dataset
        with self.reading():
            fragments = dataset.get_fragments()
            if rows is not None:
                if self._ends is None:
                    self._ends = np.cumsum([fragment.count_rows() for fragment in fragments])
                used = np.unique(np.searchsorted(self._ends, np.asarray(rows), side="right"))
                fragments = [fragments[i] for i in used if i < len(fragments)]
            self._record.check(self.path, data_files(fragments))
        return dataset

    def facts(self, columns: Sequence[str]) -> pa.Table:
        """Read columns of facts, of all rows.

        Raises:
            DamageError: if they are not those that were written.
        """
        dataset = self.open()
        with self.reading():
            table = dataset.to_table(columns=list(columns))
            if self._record is not None and facts_checksum(table) != self._record.facts:
                raise ValueError("its facts are not those that were written")
        return table

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Name the file that is damaged where Lance cannot read, whatever it raises.

        Raises:
            IndexMismatchError: if the index was changed meanwhile; see `unchanged`.
        """
        with ExitStack() as stack:
            if self.checksum is not None:
                stack.enter_context(unchanged(self.folder, self.number, self.checksum))
            try:
                yield
            except NOT_DAMAGE:
                raise
            except BaseException as error:  # its panics are not of `Exception`
                if self._record is not None:
                    self._record.check(self.path, self._record.files)
                raise damaged(self.path, ADVICE, str(error)[:300]) from error

    def records(self) -> Mapping[str, FileRecord]:
        """Checksums of the version's files, as far as they are recorded."""
        self.open()
        return {} if self._record is None else self._record.files

    def seal(self, known: Mapping[str, FileRecord], columns: Sequence[str]) -> None:
        """Flush the files of a version that has no record yet, and write it.

        Args:
            known: checksums of data files that were written, or recorded, before.
            columns: of facts.
        """
        dataset = self.open()
        names = files_of(dataset, self.path)
        commit = transactions_of(self.path, dataset.version)
        self.flush([name for name in (*names, *commit) if name not in known])
        files = {name: known.get(name) or FileRecord.of(self.path / name) for name in names}
        facts = facts_checksum(dataset.to_table(columns=list(columns)))
        self._record = TableRecord(dataset.version, files, facts)
        self.number, self.checksum = dataset.version, self._record.write(self.folder)

    def flush(self, names: Sequence[str]) -> None:
        """Write files of the table, and the folders that they are in, to the disk."""
        paths = [self.path / name for name in names]
        use_default_mode(*paths)
        for path in paths:
            flush(path)
        for folder in {self.folder, self.path, *(path.parent for path in paths)}:
            flush(folder)


def data_files(fragments: Sequence[Any]) -> list[str]:
    """Paths below the table of the data files of fragments."""
    metadata = [getattr(fragment, "metadata", fragment) for fragment in fragments]
    return [f"{DATA}/{file.path}" for x in metadata for file in x.files]
