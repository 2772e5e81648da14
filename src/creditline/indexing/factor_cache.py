"""Train-side factors on disk, written once for a method and its settings.

Unit vectors in float32, model after model and row after row, with their lengths in float64, so that
no result depends on the scale of the objective. They are plain files, mapped into memory: a query
reads them at the speed of memory, and pages are released behind it. A score is that of double
precision to about 1e-7 of the product of both factors' lengths.

Factors are written beside their final place, chunk by chunk, and an interrupted write continues.
Two processes that write the same factors at once write the same bytes to the same places.
"""

from __future__ import annotations

import mmap
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from creditline.errors import CreditlineError
from creditline.indexing.ranker import strongest
from creditline.methods.bilinear import BilinearAttributor
from creditline.units import size

BLOCK_BYTES = 2**25
CACHED_BYTES = 2**20
UNITS, LENGTHS = "units.f32", "lengths.f64"
PART = ".part"
MARGIN = 32
"""Candidates beyond the top, since float32 may order near ties otherwise than double."""


class FactorCache:
    """The train-side factors of `n` images under several models.

    Args:
        folder: that `load_or_write` wrote.
        n: number of images.
        models: number of models C.
        dim: numbers of a factor, k.

    Raises:
        CreditlineError: if a file has another size.
    """

    def __init__(self, folder: Path, n: int, models: int, dim: int) -> None:
        self.folder, self.n, self.models, self.dim = folder, n, models, dim
        for name, width in ((UNITS, 4 * dim), (LENGTHS, 8)):
            path = folder / name
            if not path.is_file() or path.stat().st_size != models * n * width:
                raise CreditlineError(
                    f"{path} is damaged. Delete {folder}; it is computed again from the features."
                )
        self.lengths = np.fromfile(folder / LENGTHS, np.float64).reshape(models, n)

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
        return self.rescore(factors, [rows for rows, _ in best], top)

    def rescore(
        self, factors: np.ndarray, candidates: list[np.ndarray], top: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `top`, among a few candidates each, with products in double precision."""
        top = min(top, *(len(rows) for rows in candidates))
        positions = np.empty((len(factors), top), np.int64)
        scores = np.empty((len(factors), top))
        with (self.folder / UNITS).open("rb", buffering=0) as file:
            for i, rows in enumerate(candidates):
                values = np.zeros(len(rows))
                for c in range(self.models):
                    values += (self._read(file, c, rows) @ factors[i, c]) * self.lengths[c, rows]
                order = strongest(values, top)
                positions[i], scores[i] = rows[order], values[order]
        return positions, scores

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Unit rows in blocks `(start, units)`, float32 of shape `(C, b, k)`, of all models."""
        step = max(1, BLOCK_BYTES // (4 * self.dim * self.models))
        units, pages = self._mapped()
        for start in range(0, self.n, step):
            yield start, units[:, start : start + step]
            for c in range(self.models):
                _release_pages(pages, units[c, start : start + step])

    def _read(self, file: BinaryIO, model: int, rows: np.ndarray) -> np.ndarray:
        """Some unit rows. A mapped file would read some hundred kilobytes around each."""
        result = np.empty((len(rows), self.dim), np.float32)
        for row, into in zip(rows.tolist(), result, strict=True):
            file.seek((model * self.n + row) * 4 * self.dim)
            file.readinto(into)  # type: ignore[attr-defined]
        return result

    def _mapped(self) -> tuple[np.ndarray, mmap.mmap]:
        """Unit rows of shape `(C, n, k)`, read when they are touched, and their pages."""
        with (self.folder / UNITS).open("rb") as file:
            pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return np.frombuffer(pages, np.float32).reshape(self.models, self.n, self.dim), pages

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
    table = method.features_
    if not folder.is_dir():
        part = folder.with_name(folder.name + PART)
        part.mkdir(parents=True, exist_ok=True)
        _write(part, method)
        try:
            part.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was as fast
                raise
    return FactorCache(folder, table.n, table.models, table.dim)


def _write(part: Path, method: BilinearAttributor) -> None:
    n, models, dim = method.features_.n, method.features_.models, method.features_.dim
    memory = method.context_.memory
    with _opened(part / UNITS) as units, _opened(part / LENGTHS) as lengths:
        done = min(_size(units) // (4 * dim), _size(lengths) // 8)
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
                    length = np.linalg.norm(rows, axis=1)
                    unit = rows / np.where(length > 0, length, 1.0)[:, None]
                    units.seek(4 * dim * at)
                    units.write(unit.astype(np.float32).data)
                    lengths.seek(8 * at)
                    lengths.write(length.data)
                    bar.advance(at + len(rows) - max(at, done))
        for file in (units, lengths):
            file.flush()
            os.fsync(file.fileno())


def _opened(path: Path) -> BinaryIO:
    """Open for writing in place, without truncating."""
    path.touch()
    return path.open("r+b")


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _release_pages(pages: mmap.mmap, block: np.ndarray) -> None:
    """Release the pages of a block that was read from this process's memory."""
    if hasattr(mmap, "MADV_DONTNEED") and block.size:
        start = block.ctypes.data - np.frombuffer(pages, np.uint8).ctypes.data
        aligned = start - start % mmap.PAGESIZE
        pages.madvise(mmap.MADV_DONTNEED, aligned, start + block.nbytes - aligned)
