"""The kernel of a feature table, streamed: `Phi^T Phi` or `Phi Phi^T`, whichever is smaller.

Products are computed in float64. Products in float32, even summed in float64, would leave errors
of `eps_32 lambda_max` in the kernel and make small dampings unusable. On a CPU they would save less
than half of a cost that occurs once. A symmetric product costs half of a general one and is added
to the kernel in place.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from creditline.features.table import CHUNK_BYTES, FeatureTable, centered_chunks
from creditline.settings import require
from creditline.units import size

MEMORY = 4 * 2**30
"""Default memory limit of a decomposition, in bytes."""
WORKSPACES = 3
"""Number of square matrices at once: the kernel, then its eigenvectors, and LAPACK's workspace."""
CHUNKS = 3
"""Number of feature blocks at once: as stored, decoded, centered."""


def require_memory(order: int, memory: int) -> None:
    """Refuse a kernel that cannot be decomposed in `memory` bytes, before any work.

    Args:
        order: rows of the kernel, the smaller of n and k.
        memory: bytes.

    Raises:
        SettingsError: with the bytes that are needed.
    """
    needed = WORKSPACES * 8 * order**2 + CHUNKS * CHUNK_BYTES
    require(
        needed <= memory,
        f"Decomposing a kernel of {order:,} rows takes {size(needed)} of memory",
        size(memory),
        "Allow more (memory=, --memory), or index with a smaller --dim.",
    )


def covariance(features: FeatureTable, model: int, mean: np.ndarray) -> np.ndarray:
    """Compute `Phi^T Phi` of centered rows, shape `(k, k)`; only the lower triangle is valid."""
    kernel = np.zeros((features.dim, features.dim), order="F")
    for _, rows in centered_chunks(features, model, mean):
        kernel = add_products(kernel, rows, 1.0)
    return kernel


def gram(features: FeatureTable, model: int, mean: np.ndarray, memory: int = MEMORY) -> np.ndarray:
    """Compute `Phi Phi^T` of centered rows, shape `(n, n)`; only the lower triangle is valid.

    The table is read once for each block of rows that fits beside the kernel in `memory`.
    """
    n = features.n
    kernel = np.zeros((n, n), order="F")
    for first, block in row_blocks(features, model, mean, memory - 8 * n**2):
        for start, rows in centered_chunks(features, model, mean):
            if start + len(rows) > first:
                kernel[start : start + len(rows), first : first + len(block)] = rows @ block.T
    return kernel


def row_blocks(
    features: FeatureTable, model: int, mean: np.ndarray, memory: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield `(start, rows)`: centered rows in blocks of at most `memory` bytes, or one chunk."""
    held: list[np.ndarray] = []
    first = 0
    for start, rows in centered_chunks(features, model, mean):
        # Held as a list and again as one array.
        if held and 2 * 8 * features.dim * (start + len(rows) - first) > memory:
            yield first, np.concatenate(held)
            held, first = [], start
        held.append(rows)
    yield first, np.concatenate(held)


def add_products(kernel: np.ndarray, rows: np.ndarray, sign: float) -> np.ndarray:
    """Add `sign * rows^T rows` to the lower triangle of a kernel in column order, in place."""
    from scipy.linalg.blas import dsyrk

    return dsyrk(sign, rows.T, beta=1.0, c=kernel, lower=1, overwrite_c=1)
