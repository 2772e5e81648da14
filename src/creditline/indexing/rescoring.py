"""Exact scores of candidates, and the strongest of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from creditline.indexing.ranker import strongest


def rescore(
    scores_of: Callable[[np.ndarray, np.ndarray], np.ndarray],
    factors: np.ndarray,
    candidates: list[np.ndarray],
    top: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The strongest among a few candidates of each query.

    Args:
        scores_of: scores `(m, b)` of b images, from query-side factors and their positions.
        factors: of queries, shape `(m, C, k)`.
        candidates: positions for each query, ascending.
        top: how many; at most as many as each query has candidates.

    Returns:
        Their positions, strongest first and ties by position, and their scores, float64; both of
        shape `(m, top)`.
    """
    top = min(top, *(len(rows) for rows in candidates))
    positions = np.empty((len(factors), top), np.int64)
    scores = np.empty((len(factors), top))
    for i, rows in enumerate(candidates):
        values = scores_of(factors[i : i + 1], rows)[0]
        order = strongest(values, top)
        positions[i], scores[i] = rows[order], values[order]
    return positions, scores
