"""Features of few bits: codes of a row's numbers, and inner products with them.

A number becomes one of `2^b` levels that lie evenly around zero, in steps that suit normally
distributed numbers (Max, 1960). A row's levels are then scaled so that its inner product with the
row itself is exact, `<f v, x> = <x, x>`, as in RaBitQ (Gao & Long, SIGMOD 2024). Rows should be
rotated at random first, so that their numbers are alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

STEPS = {1: 1.596, 2: 0.9957, 4: 0.3352, 8: 0.0308}
"""Step between levels, in units of the numbers' root mean square, by bits."""
BLOCK_BYTES = 2**22
"""Bytes of numbers in float32 that are multiplied at once, which stay in the cache."""


@dataclass(frozen=True)
class FewBitCode:
    """A code of 1, 2, 4 or 8 bits for each number.

    Attributes:
        bits: b.
    """

    bits: int

    @property
    def per_byte(self) -> int:
        """Numbers in a byte."""
        return 8 // self.bits

    def encode(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Code some rows.

        Args:
            rows: float32 or float64 of shape `(n, k)`, k a multiple of `per_byte`.

        Returns:
            Codes, uint8 of shape `(n, k / per_byte)`, and the factor of each row's levels, float64
            of shape `(n,)`; zero for a row of zeros.
        """
        size = np.sqrt(np.mean(rows.astype(np.float64) ** 2, axis=1))
        step = np.where(size > 0, size, 1.0) * STEPS[self.bits]
        half = 1 << (self.bits - 1)
        levels = np.floor(rows / step[:, None].astype(np.float32))
        levels = np.clip(levels, -half, half - 1)
        along = np.einsum("nk,nk->n", rows, levels + 0.5, dtype=np.float64)
        squares = np.einsum("nk,nk->n", rows, rows, dtype=np.float64)
        factor = np.divide(squares, along, out=np.zeros(len(rows)), where=along > 0)
        return self._pack((levels + half).astype(np.uint8)), factor

    def decode(self, codes: np.ndarray, factor: np.ndarray) -> np.ndarray:
        """Return the rows that codes stand for, float64 of shape `(n, k)`."""
        return (self._levels(codes) + 0.5) * factor[:, None]

    def products(self, codes: np.ndarray, factor: np.ndarray, queries: np.ndarray) -> np.ndarray:
        """Compute inner products without decoding all rows at once.

        Args:
            codes, factor: of `encode`.
            queries: float32 of shape `(m, k)`.

        Returns:
            float64 of shape `(m, n)`; products are in float32.
        """
        result = np.empty((len(queries), len(codes)))
        half = 0.5 * queries.sum(1, dtype=np.float64)
        step = max(1, BLOCK_BYTES // (4 * queries.shape[1]))
        block = np.empty((min(step, len(codes)), codes.shape[1], self.per_byte), np.float32)
        for start in range(0, len(codes), step):
            part = codes[start : start + step]
            levels = block[: len(part)]
            if self.bits == 8:
                np.subtract(part[:, :, None], np.float32(128), out=levels)
            else:  # straight to float32, which halves the time
                np.take(_number_table(self.bits), part, axis=0, out=levels, mode="clip")
            result[:, start : start + step] = queries @ levels.reshape(len(part), -1).T
        return (result + half[:, None]) * factor

    def signs(self, codes: np.ndarray, count: int) -> np.ndarray:
        """Return the signs of the first numbers, a bit each and 1 where it is not negative.

        Args:
            codes: of `encode`.
            count: numbers, a multiple of 8.

        Returns:
            uint8 of shape `(n, count / 8)`, as `numpy.packbits` packs them.
        """
        part = codes[:, : count // self.per_byte]
        if self.bits == 1:
            return np.ascontiguousarray(part)
        return np.packbits(self._levels(part) >= 0, axis=1)

    def _pack(self, values: np.ndarray) -> np.ndarray:
        """Put the values of neighboring numbers into bytes, the first one into the high bits."""
        parts = values.reshape(len(values), -1, self.per_byte)
        packed = parts[:, :, 0]
        for i in range(1, self.per_byte):
            packed = (packed << self.bits) | parts[:, :, i]
        return packed

    def _levels(self, codes: np.ndarray) -> np.ndarray:
        """Return levels less a half, int8 of shape `(n, k)`."""
        if self.bits == 8:
            return (codes ^ 0x80).view(np.int8)
        levels = np.take(_table(self.bits), codes)
        return levels.view(np.int8).reshape(len(codes), -1)


@cache
def _table(bits: int) -> np.ndarray:
    """Return the levels of the numbers in each byte, their bytes as one integer, `(256,)`."""
    shifts = np.arange(8 - bits, -1, -bits)
    values = (np.arange(256)[:, None] >> shifts) & ((1 << bits) - 1)
    levels = (values - (1 << (bits - 1))).astype(np.int8)
    return np.ascontiguousarray(levels).view(f"u{8 // bits}").ravel()


@cache
def _number_table(bits: int) -> np.ndarray:
    """Return the levels of the numbers in each byte, float32 of shape `(256, 8 / bits)`."""
    return _table(bits).view(np.int8).reshape(256, -1).astype(np.float32)
