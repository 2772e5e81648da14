"""Feature tables: what methods are fitted on, in memory or streamed from an index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np

from creditline.settings import require

CHUNK_ROWS = 1024
CHUNK_BYTES = 2**26


def chunk_rows(dim: int) -> int:
    """Return the rows of a chunk of float64 features: 1,024, or fewer to stay within 64 MiB."""
    return max(1, min(CHUNK_ROWS, CHUNK_BYTES // (8 * dim)))


class FeatureTable(Protocol):
    """Features of `n` training images under `models` models, each of dimension `dim`.

    `learning_rates` holds each model's learning rate at its checkpoint, or None.
    """

    n: int
    models: int
    dim: int
    learning_rates: tuple[float | None, ...]

    @property
    def errors(self) -> FeatureTable | None:
        """A sample of each feature's error, as a table of the same shape; None if unknown."""

    def chunks(self, model: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield pairs `(start, rows)` in order, rows float64 of shape `(b, k)`."""


@runtime_checkable
class CodedTable(FeatureTable, Protocol):
    """A table of few-bit codes, whose inner products need no decoded rows."""

    def products(self, model: int, queries: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yield pairs `(start, products)` in order, products float64 of shape `(m, b)`."""

    def norms(self, model: int) -> np.ndarray:
        """Norms of the features before they were coded, float64 of shape `(n,)`."""


@runtime_checkable
class RowTable(FeatureTable, Protocol):
    """A table whose rows can be read one by one."""

    def take(self, model: int, rows: np.ndarray) -> np.ndarray:
        """Features of some rows, float64 of shape `(b, k)`."""


class ArrayFeatures:
    """Features held in memory.

    Args:
        array: shape `(n, k)` or `(n, C, k)`.
        learning_rates: one per model, for TracIn's weights.
        errors: a sample of each feature's error, in the array's shape.

    Raises:
        SettingsError: if the array has no rows or another number of axes, or if the errors have
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
    """View features of shape `(n, k)` as `(n, 1, k)`; return `(n, C, k)` unchanged."""
    array = np.asarray(array)
    require(
        array.ndim in (2, 3),
        "Features have shape (rows, k) or (rows, models, k)",
        array.shape,
        "Reshape the array.",
    )
    return array[:, None, :] if array.ndim == 2 else array


def inner_products(
    features: FeatureTable, model: int, weights: np.ndarray, mean: np.ndarray | None = None
) -> np.ndarray:
    """Compute inner products of query-side factors with every training feature of one model.

    Args:
        features: table of n training images.
        model: index of the model.
        weights: float64 of shape `(m, k)`.
        mean: vector to subtract from every feature first, shape `(k,)`. Subtracting it from the
            products would lose digits where all features share one large direction.

    Returns:
        float64 of shape `(m, n)`.
    """
    result = np.empty((len(weights), features.n))
    if isinstance(features, CodedTable):  # codes are coarser than what the subtraction loses
        offset = 0.0 if mean is None else (weights @ mean)[:, None]
        for start, part in features.products(model, weights):
            result[:, start : start + part.shape[1]] = part - offset
        return result
    for start, rows in centered_chunks(features, model, mean):
        np.matmul(weights, rows.T, out=result[:, start : start + len(rows)])
    return result


def centered_chunks(
    features: FeatureTable, model: int, mean: np.ndarray | None
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield chunks of one model's features with `mean` subtracted."""
    for start, rows in features.chunks(model):
        yield start, rows if mean is None else rows - mean


def feature_norms(features: FeatureTable, model: int, mean: np.ndarray | None = None) -> np.ndarray:
    """Compute Euclidean norms of one model's features minus `mean`, float64 of shape `(n,)`."""
    if mean is None and isinstance(features, CodedTable):
        return features.norms(model)
    return np.concatenate(
        [np.linalg.norm(x, axis=1) for _, x in centered_chunks(features, model, mean)]
    )


def take_rows(features: FeatureTable, model: int, rows: np.ndarray) -> np.ndarray:
    """Select rows of one model's features in ascending order, float64 of shape `(b, k)`."""
    if isinstance(features, RowTable) and len(rows):
        return features.take(model, np.sort(rows))
    return np.concatenate(list(take_chunks(features, model, rows)))


def take_chunks(features: FeatureTable, model: int, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield what `take_rows` returns chunk by chunk; at least one chunk, which may be empty."""
    ordered = np.sort(rows)
    for start, block in features.chunks(model):
        here = ordered[(ordered >= start) & (ordered < start + len(block))]
        if len(here) or start == 0:
            yield block[here - start]


def mean_feature(features: FeatureTable, model: int) -> np.ndarray:
    """Compute the mean of one model's features, float64 of shape `(k,)`."""
    total = np.zeros(features.dim)
    for _, rows in features.chunks(model):
        total += rows.sum(0) / features.n
    return total
