"""Spearman rank correlation of many pairs of rows, and of bootstrap resamples.

Ties get average ranks. The correlation of a constant row with any other row is defined as 0: a
predictor that gives all subsets the same output predicts nothing.
"""

from __future__ import annotations

import numpy as np

DIGITS = 12
"""Values that agree to this number of digits of the row's largest value are ties.

Sums of the same scores in another order differ by rounding."""


def spearman(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Compute the rank correlation of each row of `a` with the same row of `b`.

    Args:
        a, b: shape `(..., M)`; they are broadcast against each other.

    Returns:
        float64 of shape `(...)`, in [-1, 1].
    """
    x, y = _centered_ranks(a), _centered_ranks(b)
    return _ratio((x * y).sum(-1), (x * x).sum(-1), (y * y).sum(-1))


def resampled_spearman(a: np.ndarray, b: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Compute the rank correlation of each pair of rows on every resample of the columns.

    Resample `r` contains column `j` `counts[r, j]` times. Copies of a column are ties and get
    average ranks. Each row is sorted once; its ranks follow from a running sum of the counts.

    Args:
        a, b: shape `(m, M)`.
        counts: float64 of shape `(R, M)`.

    Returns:
        float64 of shape `(R, m)`.
    """
    times = np.ascontiguousarray(counts.T)
    middle = (counts.sum(1) + 1) / 2  # the mean rank, whatever the ties
    result = np.empty((len(counts), len(a)))
    for q, rows in enumerate(zip(_round_ties(a), _round_ties(b), strict=True)):
        x, y = (_resampled_ranks(row, times) - middle for row in rows)
        weighted = x * times
        xx = np.einsum("jr,jr->r", weighted, x)
        xy = np.einsum("jr,jr->r", weighted, y)
        np.multiply(y, y, out=y)
        result[:, q] = _ratio(xy, xx, np.einsum("jr,jr->r", y, times))
    return result


def _centered_ranks(values: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata  # a second to import, which `--help` need not wait for

    ranks = rankdata(_round_ties(values), axis=-1)
    return ranks - (values.shape[-1] + 1) / 2


def _resampled_ranks(row: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Compute average ranks of one row, `(M, R)`, with column j repeated `times[j]` times.

    All draws of one value share their mean rank: the number of draws below the value, plus half of
    one more than the number of its own. The loop over values is faster than numpy's cumulative
    sums along the first axis.
    """
    ranks = np.empty_like(times)
    below = np.zeros(times.shape[1])
    order = np.argsort(row)
    for group in np.split(order, np.flatnonzero(np.diff(row[order])) + 1):
        draws = times[group[0]] if len(group) == 1 else times[group].sum(0)
        ranks[group] = below + (draws + 1) / 2
        below += draws
    return ranks


def _round_ties(values: np.ndarray) -> np.ndarray:
    """Scale each row to a largest value of 1 and drop digits that are rounding error."""
    values = np.asarray(values, dtype=np.float64)
    largest = np.abs(values).max(-1, keepdims=True)
    return np.round(values / np.where(largest > 0, largest, 1.0), DIGITS)


def _ratio(xy: np.ndarray, xx: np.ndarray, yy: np.ndarray) -> np.ndarray:
    scale = np.sqrt(xx * yy)
    return np.clip(np.divide(xy, scale, out=np.zeros_like(xy), where=scale > 0), -1.0, 1.0)
