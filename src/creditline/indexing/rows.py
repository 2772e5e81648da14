"""Train sides on disk: what every query meets, made once for a method and its settings.

Unit vectors in float32, model after model and row after row, with their lengths in double, so that
nothing depends on the scale of the objective. Plain files, mapped into memory: a query reads them
at the speed of memory, and pages are given back behind it. A score is that of double precision to
about 1e-7 of the product of both sides' lengths.

They are made aside, chunk by chunk; what a killed process has written is kept and continued. Two
processes that make the same rows at once write the same bytes to the same places.
"""

from __future__ import annotations

import mmap
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from creditline.curvature.kernel import MEMORY
from creditline.errors import CreditlineError
from creditline.indexing.rank import strongest
from creditline.methods.base import Method
from creditline.runtime import Runtime
from creditline.units import size

BLOCK_BYTES = 2**25
CACHED_BYTES = 2**20
UNITS, LENGTHS = "units.f32", "lengths.f64"
PART = ".part"
MARGIN = 32
"""Candidates beyond the top, since float32 may order near ties otherwise than double."""


class FactorCache:
    """The train sides of `n` images under several models.

    Args:
        folder: that `make` wrote.
        n: images.
        models: models C.
        dim: numbers of a side, k.

    Raises:
        CreditlineError: if a file has another size.
    """

    def __init__(self, folder: Path, n: int, models: int, dim: int) -> None:
        self.folder, self.n, self.models, self.dim = folder, n, models, dim
        for name, width in ((UNITS, 4 * dim), (LENGTHS, 8)):
            path = folder / name
            if not path.is_file() or path.stat().st_size != models * n * width:
                raise CreditlineError(
                    f"{path} is damaged. Delete {folder}; it is made again from the features."
                )
        self.lengths = np.fromfile(folder / LENGTHS, np.float64).reshape(models, n)

    def scores(self, sides: np.ndarray) -> np.ndarray:
        """Scores of every image, float64 of shape `(m, n)`.

        Args:
            sides: of queries, weighted, shape `(m, C, k)`; see `Method.query_sides`.
        """
        found = np.empty((len(sides), self.n))
        for start, scores in self._products(sides):
            found[:, start : start + scores.shape[1]] = scores
        return found

    def top(self, sides: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
        """The strongest images of each query, without a row of all its scores.

        Args:
            sides: as `scores`.
            top: how many; at most `n` are returned.

        Returns:
            Their positions, strongest first and ties by position, and their scores, float64; both
            of shape `(m, top)`.
        """
        keep = min(top + MARGIN, self.n)
        none = np.zeros(0, np.int64), np.zeros(0)
        best = [none for _ in sides]
        floor = np.full(len(sides), -np.inf)
        for start, scores in self._products(sides):
            for i in np.flatnonzero(scores.max(1) > floor):
                here = np.flatnonzero(scores[i] > floor[i])
                rows = np.concatenate([best[i][0], here + start])
                values = np.concatenate([best[i][1], scores[i, here]])
                chosen = strongest(values, keep)
                # In order of position, which decides ties.
                chosen.sort()
                best[i] = rows[chosen], values[chosen]
                if len(chosen) == keep:
                    floor[i] = best[i][1].min()
        return self.rescored(sides, [rows for rows, _ in best], top)

    def rescored(
        self, sides: np.ndarray, candidates: list[np.ndarray], top: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `top`, of a few candidates each, with products in double precision."""
        top = min(top, *(len(rows) for rows in candidates))
        positions = np.empty((len(sides), top), np.int64)
        scores = np.empty((len(sides), top))
        with (self.folder / UNITS).open("rb", buffering=0) as file:
            for i, rows in enumerate(candidates):
                values = np.zeros(len(rows))
                for c in range(self.models):
                    values += (self._read(file, c, rows) @ sides[i, c]) * self.lengths[c, rows]
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
                _give_back(pages, units[c, start : start + step])

    def _read(self, file: BinaryIO, model: int, rows: np.ndarray) -> np.ndarray:
        """Some unit rows. A mapped file would bring in some hundred kilobytes around each."""
        found = np.empty((len(rows), self.dim), np.float32)
        for row, into in zip(rows.tolist(), found, strict=True):
            file.seek((model * self.n + row) * 4 * self.dim)
            file.readinto(into)  # type: ignore[attr-defined]
        return found

    def _mapped(self) -> tuple[np.ndarray, mmap.mmap]:
        """Unit rows of shape `(C, n, k)`, read when they are touched, and their pages."""
        with (self.folder / UNITS).open("rb") as file:
            pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return np.frombuffer(pages, np.float32).reshape(self.models, self.n, self.dim), pages

    def _products(self, sides: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Scores block by block: `(start, scores)`, float64 of shape `(m, b)`."""
        length = np.linalg.norm(sides, axis=2)
        unit = (sides / np.where(length > 0, length, 1.0)[:, :, None]).astype(np.float32)
        for start, rows in self.blocks():
            here = slice(start, start + rows.shape[1])
            scores = np.zeros((len(sides), rows.shape[1]))
            for c in range(self.models):
                products = _times(rows[c], unit[:, c])
                scores += products * length[:, c, None] * self.lengths[c, here]
            yield start, scores


def _times(rows: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Inner products `(m, b)`, float32, of what stays in the cache for all queries at once."""
    step = max(1, CACHED_BYTES // (4 * rows.shape[1]))
    found = np.empty((len(rows), len(queries)), np.float32)
    for i in range(0, len(rows), step):
        np.matmul(rows[i : i + step], queries.T, out=found[i : i + step])
    return found.T


def make(
    folder: Path, method: Method, memory: int = MEMORY, runtime: Runtime | None = None
) -> FactorCache:
    """The train sides of a fitted method, from `folder` if they are there.

    Args:
        folder: of these rows alone.
        method: fitted.
        memory: bytes that may be taken.
        runtime: hears of progress.

    Raises:
        CreditlineError: if there is no room on the disk.
    """
    table = method.features_
    if not folder.is_dir():
        part = folder.with_name(folder.name + PART)
        part.mkdir(parents=True, exist_ok=True)
        _write(part, method, memory, runtime or Runtime())
        try:
            part.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was as fast
                raise
    return FactorCache(folder, table.n, table.models, table.dim)


def _write(part: Path, method: Method, memory: int, runtime: Runtime) -> None:
    n, models, dim = method.features_.n, method.features_.models, method.features_.dim
    with _opened(part / UNITS) as units, _opened(part / LENGTHS) as lengths:
        done = min(_size(units) // (4 * dim), _size(lengths) // 8)
        needed = (models * n - done) * (4 * dim + 8)
        free = shutil.disk_usage(part).free
        if needed > free:
            raise CreditlineError(
                f"Preconditioned features take {size(needed)} and {part.parent} has {size(free)} "
                "free. Make room, or do without them (keep=False, --no-keep): every trace then "
                "works with the features themselves."
            )
        with runtime.progress("precondition", models * n, "image", done=done) as bar:
            for c in range(done // n, models):
                for start, rows in method.train_side(c, memory, max(0, done - c * n)):
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
    """For writing in place; what is there stays."""
    path.touch()
    return path.open("r+b")


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _give_back(pages: mmap.mmap, block: np.ndarray) -> None:
    """Pages of a block that was read are no longer counted as memory of this process."""
    if hasattr(mmap, "MADV_DONTNEED") and block.size:
        start = block.ctypes.data - np.frombuffer(pages, np.uint8).ctypes.data
        aligned = start - start % mmap.PAGESIZE
        pages.madvise(mmap.MADV_DONTNEED, aligned, start + block.nbytes - aligned)
