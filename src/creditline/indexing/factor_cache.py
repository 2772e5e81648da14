"""Train-side factors on disk, written once for a method and its settings.

Unit vectors in float32, model after model and row after row, with their lengths in float64, so that
no result depends on the scale of the objective. They are plain files, mapped into memory: a query
reads them at the speed of memory, and pages are released behind it. A score is that of double
precision to about 1e-7 of the product of both factors' lengths.

Factors are written beside their final place, chunk by chunk, and an interrupted write continues.
Two processes that write the same factors at once write the same bytes to the same places. Damaged
factors are written again when they are read.
"""

from __future__ import annotations

import mmap
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from creditline.checksum import damaged
from creditline.errors import CreditlineError, DamageError
from creditline.files import make_folder
from creditline.indexing.factor_blocks import (
    ADVICE,
    CHECKSUMS,
    LENGTHS,
    UNITS,
    BlockWriter,
    FactorBlocks,
    describe,
)
from creditline.indexing.ranker import strongest
from creditline.indexing.rescoring import rescore
from creditline.indexing.row_scores import RowScores
from creditline.leftovers import discard, remove
from creditline.methods.bilinear import BilinearAttributor
from creditline.notice import notice
from creditline.owner import aside_prefix
from creditline.units import size

BLOCK_BYTES = 2**25
CACHED_BYTES = 2**20
PART = ".part"
ATTEMPTS = 3
"""Times that damaged factors are written again."""
MARGIN = 32
"""Candidates beyond the top, since float32 may order near ties otherwise than double."""


class FactorCache(RowScores):
    """The train-side factors of `n` images under several models.

    Args:
        folder: that `load_or_write` wrote.
        n: number of images.
        models: number of models C.
        dim: numbers of a factor, k.
        write: writes the folder, if it is damaged.

    Raises:
        CreditlineError: if the disk has too little space for what is damaged.
    """

    def __init__(
        self, folder: Path, n: int, models: int, dim: int, write: Callable[[], None]
    ) -> None:
        self.folder, self.n, self.models, self.dim = folder, n, models, dim
        self._write = write
        try:
            self._blocks = FactorBlocks(folder, (models, n, dim))
        except DamageError as error:
            self._repair(error)

    @property
    def lengths(self) -> np.ndarray:
        """Lengths of the factors, float64 of shape `(C, n)`."""
        return self._blocks.lengths

    def scores(self, factors: np.ndarray) -> np.ndarray:
        """Scores of every image, float64 of shape `(m, n)`.

        Args:
            factors: of queries, shape `(m, C, k)`; see
                `BilinearAttributor.weighted_query_factors`.
        """
        result = np.empty((len(factors), self.n))
        for start, scores in self._products(factors):
            result[:, start : start + scores.shape[1]] = scores
        return result

    def top(self, factors: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
        """The strongest images of each query, without a row of all its scores.

        Args:
            factors: as `scores`.
            top: how many; at most `n` are returned.

        Returns:
            Their positions, strongest first and ties by position, and their scores, float64; both
            of shape `(m, top)`.
        """
        keep = min(top + MARGIN, self.n)
        empty = np.zeros(0, np.int64), np.zeros(0)
        best = [empty for _ in factors]
        floor = np.full(len(factors), -np.inf)
        for start, scores in self._products(factors):
            for i in np.flatnonzero(scores.max(1) > floor):
                above = np.flatnonzero(scores[i] > floor[i])
                rows = np.concatenate([best[i][0], above + start])
                values = np.concatenate([best[i][1], scores[i, above]])
                order = strongest(values, keep)
                # In order of position, which decides ties.
                order.sort()
                best[i] = rows[order], values[order]
                if len(order) == keep:
                    floor[i] = best[i][1].min()
        return rescore(self.scores_of, factors, [rows for rows, _ in best], top)

    def model_scores_of(self, model: int, factors: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Products are in double precision."""
        units = self._read(model, rows).astype(np.float64)
        return np.stack([units @ factor for factor in factors]) * self.lengths[model, rows]

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Unit rows in blocks `(start, units)`, float32 of shape `(C, b, k)`, of all models."""
        step = max(1, BLOCK_BYTES // (4 * self.dim * self.models))
        units, pages = self._mapped()
        for start in range(0, self.n, step):
            try:
                self._check(units, start, step)
            except DamageError as error:
                self._repair(error)
                units, pages = self._mapped()
                self._check(units, start, step)
            yield start, units[:, start : start + step]
            for c in range(self.models):
                _release_pages(pages, units[c, start : start + step])

    def _check(self, units: np.ndarray, start: int, step: int) -> None:
        """Check a block of unit rows of all models."""
        flat = units.reshape(-1, self.dim)
        for c in range(self.models):
            first = c * self.n + start
            self._blocks.check(flat, first, min(first + step, (c + 1) * self.n))

    def _repair(self, error: Exception) -> None:
        """Write the folder again; another process may be doing the same."""
        notice(str(error))
        shape = self.models, self.n, self.dim
        for attempt in range(ATTEMPTS):
            try:
                discard(self.folder)
                self._write()
                self._blocks = FactorBlocks(self.folder, shape)
                return
            except PermissionError as refusal:
                raise DamageError(
                    f"{error} But {self.folder} may not be written to by you. Ask its owner to "
                    "trace once, or trace without stored factors (keep=False, --no-keep)."
                ) from refusal
            except DamageError:
                if attempt == ATTEMPTS - 1:
                    raise

    def _read(self, model: int, rows: np.ndarray) -> np.ndarray:
        """Some unit rows. A mapped file would read some hundred kilobytes around each."""
        try:
            return self._read_checked(model * self.n + rows)
        except (DamageError, FileNotFoundError) as error:
            self._repair(error)
            return self._read_checked(model * self.n + rows)

    def _read_checked(self, places: np.ndarray) -> np.ndarray:
        result = np.empty((len(places), self.dim), np.float32)
        with (self.folder / UNITS).open("rb", buffering=0) as file:
            self._blocks.check_rows(file, places, self.dim)
            for place, into in zip(places.tolist(), result, strict=True):
                file.seek(place * 4 * self.dim)
                file.readinto(into.data)
        return result

    def _mapped(self) -> tuple[np.ndarray, mmap.mmap]:
        """Unit rows of shape `(C, n, k)`, read when they are touched, and their pages."""
        try:
            pages = self._map()
        except (OSError, ValueError) as error:  # not there any more, or empty
            self._repair(damaged(self.folder / UNITS, ADVICE, str(error)))
            pages = self._map()
        return np.frombuffer(pages, np.float32).reshape(self.models, self.n, self.dim), pages

    def _map(self) -> mmap.mmap:
        with (self.folder / UNITS).open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def _products(self, factors: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Scores block by block: `(start, scores)`, float64 of shape `(m, b)`."""
        length = np.linalg.norm(factors, axis=2)
        unit = (factors / np.where(length > 0, length, 1.0)[:, :, None]).astype(np.float32)
        for start, rows in self.blocks():
            part = slice(start, start + rows.shape[1])
            scores = np.zeros((len(factors), rows.shape[1]))
            for c in range(self.models):
                products = _multiply(rows[c], unit[:, c])
                scores += products * length[:, c, None] * self.lengths[c, part]
            yield start, scores


def _multiply(rows: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Inner products `(m, b)`, float32, a few rows at a time, which stay in the cache."""
    step = max(1, CACHED_BYTES // (4 * rows.shape[1]))
    result = np.empty((len(rows), len(queries)), np.float32)
    for i in range(0, len(rows), step):
        np.matmul(rows[i : i + step], queries.T, out=result[i : i + step])
    return result.T


def load_or_write(folder: Path, method: BilinearAttributor) -> FactorCache:
    """The train-side factors of a fitted method, from `folder` if they are there.

    Args:
        folder: of these factors alone.
        method: fitted.

    Raises:
        CreditlineError: if the disk has too little space.
    """
    table, write = method.features_, partial(_write_folder, folder, method)
    if not folder.is_dir():
        write()
    return FactorCache(folder, table.n, table.models, table.dim, write)


def _write_folder(folder: Path, method: BilinearAttributor) -> None:
    part = folder.with_name(folder.name + PART)
    # Nothing is flushed: what a power cut damages is found by its checksums and written again.
    try:
        make_folder(part)
        _write(part, method)
        part.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        with suppress(OSError):  # another process was as fast
            remove(part)
        for draft in folder.glob(f"{aside_prefix()}*"):  # moved away with the folder
            remove(draft)


def _write(part: Path, method: BilinearAttributor) -> None:
    n, models, dim = method.features_.n, method.features_.models, method.features_.dim
    memory = method.context_.memory
    with (
        _opened(part / UNITS) as units,
        _opened(part / LENGTHS) as lengths,
        _opened(part / CHECKSUMS) as checksums,
    ):
        blocks = BlockWriter(units, lengths, checksums, dim, models * n)
        done = blocks.done
        needed = (models * n - done) * (4 * dim + 8)
        free = shutil.disk_usage(part).free
        if needed > free:
            raise CreditlineError(
                f"Stored factors take {size(needed)} and {part.parent} has {size(free)} free. Free "
                "some space, or do not store them (keep=False, --no-keep): every trace then reads "
                "the features themselves."
            )
        with method.context_.runtime.progress(
            "precondition", models * n, "image", done=done
        ) as bar:
            for c in range(done // n, models):
                for start, rows in method.train_factors(c, memory, max(0, done - c * n)):
                    at = c * n + start
                    rows = rows[max(0, blocks.done - at) :]
                    length = np.linalg.norm(rows, axis=1)
                    unit = (rows / np.where(length > 0, length, 1.0)[:, None]).astype(np.float32)
                    units.seek(4 * dim * blocks.done)
                    units.write(unit.data)
                    lengths.seek(8 * blocks.done)
                    lengths.write(length.data)
                    blocks.append(unit, length)
                    bar.advance(len(rows))
        for file, width in ((units, 4 * dim), (lengths, 8)):
            file.truncate(width * models * n)
    describe(part, (models, n, dim))


def _opened(path: Path) -> BinaryIO:
    """Open for writing in place, without truncating."""
    path.touch()
    return path.open("r+b")


def _release_pages(pages: mmap.mmap, block: np.ndarray) -> None:
    """Release the pages of a block that was read from this process's memory."""
    if hasattr(mmap, "MADV_DONTNEED") and block.size:
        start = block.ctypes.data - np.frombuffer(pages, np.uint8).ctypes.data
        aligned = start - start % mmap.PAGESIZE
        pages.madvise(mmap.MADV_DONTNEED, aligned, start + block.nbytes - aligned)
