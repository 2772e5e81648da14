"""Spearman's rank correlation of many pairs of rows at once, and of thousands of resamples.

Ties get average ranks. A constant row has no ranking: its correlation with anything counts as 0,
for a predictor that says the same of every subset has predicted nothing.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

DIGITS = 12
"""Values that agree to so many digits of the row's largest are ties: sums differ by rounding."""
BLOCK = 2**24
"""Numbers held at once while resamples are ranked."""


def spearman(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Rank correlation of each row of `a` with the same row of `b`.

    Args:
        a, b: shape `(..., M)`; broadcast against each other.

    Returns:
        float64 of shape `(...)`, in [-1, 1].
    """
    x, y = _centred_ranks(a), _centred_ranks(b)
    return _ratio((x * y).sum(-1), (x * x).sum(-1), (y * y).sum(-1))


def resampled_spearman(a: np.ndarray, b: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Rank correlation of each pair of rows on every resample of the columns.

    A resample holds column j `counts[r, j]` times, so its ties get average ranks like any others.
    The rank of a value is the number of draws below it plus half of (one plus the draws equal to
    it): one matrix product of "is below" with the counts ranks all resamples, without sorting.

    Args:
        a, b: shape `(m, M)`.
        counts: float64 of shape `(R, M)`.

    Returns:
        float64 of shape `(R, m)`.
    """
    middle = (counts.sum(1) + 1) / 2  # the mean rank, whatever the ties
    result = np.empty((len(counts), len(a)))
    step = max(1, BLOCK // counts.size)
    for start in range(0, len(a), step):
        rows = slice(start, start + step)
        x, y = (_resampled_ranks(values[rows], counts) - middle[:, None] for values in (a, b))
        xy, xx, yy = (np.einsum("qrj,rj->rq", product, counts) for product in (x * y, x * x, y * y))
        result[:, rows] = _ratio(xy, xx, yy)
    return result


def _centred_ranks(values: np.ndarray) -> np.ndarray:
    ranks = rankdata(_settled(values), axis=-1)
    return ranks - (values.shape[-1] + 1) / 2


def _resampled_ranks(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Average ranks of shape `(m, R, M)`."""
    values = _settled(values)
    below = (values[:, None, :] < values[:, :, None]) + 0.5 * (
        values[:, None, :] == values[:, :, None]
    )
    return np.matmul(counts, below.transpose(0, 2, 1)) + 0.5


def _settled(values: np.ndarray) -> np.ndarray:
    """Rows in units of their largest value, without the digits that are rounding error."""
    values = np.asarray(values, dtype=np.float64)
    largest = np.abs(values).max(-1, keepdims=True)
    return np.round(values / np.where(largest > 0, largest, 1.0), DIGITS)


def _ratio(xy: np.ndarray, xx: np.ndarray, yy: np.ndarray) -> np.ndarray:
    scale = np.sqrt(xx * yy)
    return np.clip(np.divide(xy, scale, out=np.zeros_like(xy), where=scale > 0), -1.0, 1.0)
