"""What an approximate search needs of the codes that it searches."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

VECTOR, ROW = "vector", "row"
TABLE = "rows.lance"


class VectorCodes(Protocol):
    """Codes of `n` rows, from which candidates of a query are taken, and its exact scores."""

    n: int

    def build(self, folder: Path) -> None:
        """Write the codes below a folder."""

    def open(self, folder: Path) -> None:
        """Open what `build` wrote, for `candidates`."""

    def query_factors(self, queries: np.ndarray) -> np.ndarray:
        """Query-side factors `(m, C, k)` of features of queries, `(m, C, k)`."""

    def candidates(self, factors: np.ndarray, top: int) -> list[np.ndarray]:
        """Positions, ascending, of the rows to be scored for each query."""

    def scores_of(self, factors: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Exact scores of some rows, float64 of shape `(m, b)`."""

    def exact(self, queries: np.ndarray, top: int) -> np.ndarray:
        """Positions of the strongest rows of all, `(m, top)`, to measure recall."""


def list_column(array: np.ndarray) -> pa.FixedSizeListArray:
    """A column of vectors, from an array of shape `(n, k)`."""
    return pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), array.shape[1])
