"""Feature tables: what methods are fitted on, whether in memory or streamed from an index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from creditline.settings import require

CHUNK_ROWS = 1024
CHUNK_BYTES = 2**26


def chunk_rows(dim: int) -> int:
    """Rows of a chunk of float64 features: 1,024, or fewer where these would be many bytes."""
    return max(1, min(CHUNK_ROWS, CHUNK_BYTES // (8 * dim)))


class Features(Protocol):
    """Features of `n` training images under `models` models, each of dimension `dim`.

    `learning_rates` holds each model's rate at the time of its checkpoint, or None.
    """

    n: int
    models: int
    dim: int
    learning_rates: tuple[float | None, ...]

    @property
    def errors(self) -> Features | None:
        """As many rows of the same dimension, a sample of each feature's error; None: not known."""

    def chunks(self, model: int) -> Iterator[tuple[int, np.ndarray]]:
        """Pairs `(start, rows)`, rows float64 of shape `(b, k)`, in order."""


class ArrayFeatures:
    """Features held in memory.

    Args:
        array: shape `(n, k)` or `(n, C, k)`.
        learning_rates: one per model, for TracIn's weights.
        errors: of the features, in the array's shape.

    Raises:
        SettingsError: if the array has another number of axes, or no rows, or the errors have
            another shape.
    """

    def __init__(
        self,
        array: np.ndarray,
        learning_rates: tuple[float | None, ...] | None = None,
        errors: np.ndarray | None = None,
    ) -> None:
        self._array = per_model(array)
        self.n, self.models, self.dim = self._array.shape
        require(self.n > 0, "Features need at least one row", self.n, "Give training features.")
        self.learning_rates = learning_rates or (None,) * self.models
        require(
            errors is None or np.shape(errors) == np.shape(array),
            f"Errors have the shape of the features, {np.shape(array)}",
            None if errors is None else np.shape(errors),
            "Extract both with the same settings.",
        )
        self.errors = None if errors is None else ArrayFeatures(errors)

    def chunks(self, model: int) -> Iterator[tuple[int, np.ndarray]]:
        size = chunk_rows(self.dim)
        for start in range(0, self.n, size):
            yield start, self._array[start : start + size, model].astype(np.float64)


def per_model(array: np.ndarray) -> np.ndarray:
    """View features of shape `(n, k)` as `(n, 1, k)`; leave `(n, C, k)` alone."""
    array = np.asarray(array)
    require(
        array.ndim in (2, 3),
        "Features have shape (rows, k) or (rows, models, k)",
        array.shape,
        "Reshape the array.",
    )
    return array[:, None, :] if array.ndim == 2 else array


def dots(
    features: Features, model: int, weights: np.ndarray, mean: np.ndarray | None = None
) -> np.ndarray:
    """Inner products of query-side weights with every training feature of one model.

    Args:
        features: n training images.
        model: which model's features.
        weights: float64 of shape `(m, k)`.
        mean: subtracted from every feature first, shape `(k,)`; subtracting afterwards would lose
            digits where all features share one large direction.

    Returns:
        float64 of shape `(m, n)`.
    """
    result = np.empty((len(weights), features.n))
    for start, rows in centered(features, model, mean):
        np.matmul(weights, rows.T, out=result[:, start : start + len(rows)])
    return result


def centered(
    features: Features, model: int, mean: np.ndarray | None
) -> Iterator[tuple[int, np.ndarray]]:
    """The chunks of one model's features with `mean` subtracted."""
    for start, rows in features.chunks(model):
        yield start, rows if mean is None else rows - mean


def norms(features: Features, model: int, mean: np.ndarray | None = None) -> np.ndarray:
    """Euclidean norms of one model's features less `mean`, float64 of shape `(n,)`."""
    return np.concatenate([np.linalg.norm(x, axis=1) for _, x in centered(features, model, mean)])


def take(features: Features, model: int, rows: np.ndarray) -> np.ndarray:
    """Some rows of one model's features, in ascending order, float64 of shape `(b, k)`."""
    return np.concatenate(list(some(features, model, rows)))


def some(features: Features, model: int, rows: np.ndarray) -> Iterator[np.ndarray]:
    """As `take`, chunk by chunk; at least one, which may be empty."""
    wanted = np.sort(rows)
    for start, block in features.chunks(model):
        here = wanted[(wanted >= start) & (wanted < start + len(block))]
        if len(here) or start == 0:
            yield block[here - start]


def mean(features: Features, model: int) -> np.ndarray:
    """Mean of one model's features, float64 of shape `(k,)`."""
    total = np.zeros(features.dim)
    for _, rows in features.chunks(model):
        total += rows.sum(0) / features.n
    return total
