"""Checksums of stored factors, one for each block of rows, which are checked when they are read.

A file of factors is too large to be checked as a whole before a query. A block's two numbers count
the bytes of its unit vectors and of their lengths. They also say how much of an interrupted write
is intact.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import xxhash

from creditline.checksum import FileRecord, damaged
from creditline.json_schema import DIM, FILE, JsonSchema, array, integer, obj
from creditline.stored_json import read_json, write_json

BLOCK_BYTES = 2**16
UNITS, LENGTHS, CHECKSUMS, DESCRIPTION = "units.f32", "lengths.f64", "blocks.u64", "factors.json"
ADVICE = "It is computed again from the features."
SCHEMA = JsonSchema(
    obj(
        {
            "shape": {**array(integer(1), 3), "minItems": 3},
            "rows": integer(1, DIM),
            LENGTHS: FILE,
            CHECKSUMS: FILE,
        }
    )
)


def block_rows(dim: int) -> int:
    """Rows of a block, for factors of `dim` numbers."""
    return max(1, BLOCK_BYTES // (4 * dim))


class BlockWriter:
    """Counts rows as they are written, one after the other.

    Args:
        units, lengths, checksums: the three files, open for reading and writing.
        dim: numbers of a factor, k.
        total: rows of all models.

    Attributes:
        done: rows that are written, at first those of an interrupted write that are intact.
    """

    def __init__(
        self, units: BinaryIO, lengths: BinaryIO, checksums: BinaryIO, dim: int, total: int
    ) -> None:
        self._file, self._rows, self._total = checksums, block_rows(dim), total
        self.done = self._intact(units, lengths, dim)
        self._start()

    def append(self, units: np.ndarray, lengths: np.ndarray) -> None:
        """Count rows: unit vectors float32 `(b, k)` and lengths float64 `(b,)`."""
        while len(lengths):
            take = self._rows - self.done % self._rows
            self._units.update(np.ascontiguousarray(units[:take]).data)
            self._lengths.update(np.ascontiguousarray(lengths[:take]).data)
            self.done += len(lengths[:take])
            units, lengths = units[take:], lengths[take:]
            if self.done % self._rows == 0 or self.done == self._total:
                self._file.seek(16 * ((self.done - 1) // self._rows))
                sums = [self._units.intdigest(), self._lengths.intdigest()]
                self._file.write(np.array(sums, np.uint64).tobytes())
                self._start()

    def _start(self) -> None:
        self._units, self._lengths = xxhash.xxh3_64(), xxhash.xxh3_64()

    def _intact(self, units: BinaryIO, lengths: BinaryIO, dim: int) -> int:
        """Rows of the blocks that were written before, up to the first that is damaged."""
        sums = np.frombuffer(self._file.read(), np.uint8)
        for expected in sums[: len(sums) // 16 * 16].view(np.uint64).reshape(-1, 2).tolist():
            start = units.tell() // (4 * dim)
            rows = min(self._rows, self._total - start)
            parts = units.read(4 * dim * rows), lengths.read(8 * rows)
            if rows <= 0 or [xxhash.xxh3_64_intdigest(part) for part in parts] != expected:
                return start
        return min(units.tell() // (4 * dim), self._total)


class FactorBlocks:
    """The blocks of stored factors, and which of them this process has checked.

    Args:
        folder: of the factors.
        shape: models C, images n and numbers k.

    Attributes:
        lengths: of the factors, float64 of shape `(C, n)`.

    Raises:
        DamageError: if a file is missing or damaged, apart from the unit vectors.
    """

    def __init__(self, folder: Path, shape: tuple[int, int, int]) -> None:
        self.folder, (models, n, dim) = folder, shape
        values = read_json(folder / DESCRIPTION, ADVICE, SCHEMA)
        for name in (LENGTHS, CHECKSUMS):
            FileRecord(**values[name]).check(folder / name, ADVICE)
        size = (folder / UNITS).stat().st_size if (folder / UNITS).is_file() else 0
        self.rows = block_rows(dim)
        sizes = [8 * models * n, 16 * -(-models * n // self.rows)]
        if (
            [*values["shape"], values["rows"]] != [*shape, self.rows]
            or size != 4 * models * n * dim
            or [values[name]["bytes"] for name in (LENGTHS, CHECKSUMS)] != sizes
        ):
            raise damaged(folder / UNITS, ADVICE)
        self._sums = np.fromfile(folder / CHECKSUMS, np.uint64).reshape(-1, 2)[:, 0]
        self._checked = np.zeros(len(self._sums), bool)
        self.lengths = np.fromfile(folder / LENGTHS, np.float64).reshape(models, n)

    def check(self, units: np.ndarray, first: int, last: int) -> None:
        """Check the blocks of some rows, once.

        Args:
            units: all unit vectors, float32 of shape `(C n, k)`, mapped.
            first, last: the rows, the last one not included.

        Raises:
            DamageError: if one is damaged.
        """
        for block in range(first // self.rows, -(-last // self.rows)):
            if not self._checked[block]:
                rows = units[block * self.rows : (block + 1) * self.rows]
                self._require(block, rows)

    def check_rows(self, file: BinaryIO, rows: np.ndarray, dim: int) -> None:
        """Check the blocks of single rows of a file, as `check`."""
        for block in np.unique(rows // self.rows).tolist():
            if not self._checked[block]:
                file.seek(4 * dim * self.rows * block)
                self._require(block, file.read(4 * dim * self.rows))

    def _require(self, block: int, content: Any) -> None:
        if xxhash.xxh3_64_intdigest(content) != int(self._sums[block]):
            raise damaged(self.folder / UNITS, ADVICE)
        self._checked[block] = True


def describe(folder: Path, shape: tuple[int, int, int]) -> None:
    """Write the description of factors that are complete, of shape (C, n, k)."""
    records = {name: FileRecord.of(folder / name).to_json() for name in (LENGTHS, CHECKSUMS)}
    write_json(
        folder / DESCRIPTION, {"shape": list(shape), "rows": block_rows(shape[2]), **records}
    )
