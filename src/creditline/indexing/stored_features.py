"""The features of an index as feature tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from creditline.features.few_bits import FewBitCode
from creditline.features.table import CHUNK_ROWS, FeatureTable, chunk_rows
from creditline.indexing.feature_columns import FeatureColumns
from creditline.indexing.store import Store
from creditline.indexing.table_schema import Kind

BATCH_BYTES = 2**21
"""Bytes of codes that are read at once; memory for more costs more time than reading them."""


class StoredFeatures:
    """Features of a store, or their errors, as a feature table (see `FeatureTable`).

    Args:
        store: the index's table.
        n: its rows.
        learning_rates: of each model's checkpoint, or None.
        kind: features, or their errors.
        feature_set: name of one of several feature sets; empty for all side by side.
    """

    def __init__(
        self,
        store: Store,
        n: int,
        learning_rates: tuple[float | None, ...],
        kind: Kind = "feature",
        feature_set: str = "",
    ) -> None:
        self.store, self.n, self.kind, self.feature_set = store, n, kind, feature_set
        self.models, self.learning_rates = store.models, learning_rates
        self.dim = sum(own.size for own in self.columns(0)) if store.models else store.dim
        self.errors: FeatureTable | None = None
        if store.halves and kind == "feature":
            self.errors = open_features(store, n, learning_rates, "error", feature_set)

    def of_set(self, name: str) -> FeatureTable:
        """The features of one of several feature sets."""
        return open_features(self.store, self.n, self.learning_rates, self.kind, name)

    def columns(self, model: int) -> list[FeatureColumns]:
        """The columns of one model's features."""
        return select_columns(self.store, self.kind, model, self.feature_set)

    def chunks(self, model: int) -> Iterator[tuple[int, np.ndarray]]:
        """Rows of one model, float64, chunk by chunk."""
        return self.store.chunks(self.columns(model))

    def take(self, model: int, rows: np.ndarray) -> np.ndarray:
        """Some rows of one model, which are read alone, float64 of shape `(b, k)`."""
        columns = self.columns(model)
        batch = self.store.take(rows, [name for own in columns for name in own.names])
        return np.concatenate([own.decode(batch) for own in columns], axis=1)


class CodedFeatures(StoredFeatures):
    """Features of few bits: inner products need no decoded rows (see `CodedTable`)."""

    def products(self, model: int, queries: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Inner products with queries, chunk by chunk, float64 of shape `(m, b)`."""
        (columns,), start = self.columns(model), 0
        for batch in self.code_batches(columns.names):
            yield start, _products(columns, batch, queries)
            start += batch.num_rows

    def products_of(self, model: int, rows: np.ndarray, queries: np.ndarray) -> np.ndarray:
        """Inner products of some rows, which are read alone, float64 of shape `(m, b)`."""
        (columns,) = self.columns(model)
        return _products(columns, self.store.take(rows, columns.names), queries)

    def code_batches(self, names: Sequence[str]) -> Iterator[Any]:
        """Record batches of some columns, as many rows at once as codes of 2 MiB."""
        (columns,) = self.columns(0)
        size = max(1, min(CHUNK_ROWS, BATCH_BYTES // int(columns.row_bytes)))
        return self.store.batches(names, size)

    def norms(self, model: int) -> np.ndarray:
        """Norms of the features before they were coded, float64 of shape `(n,)`."""
        (columns,) = self.columns(model)
        batches = self.store.batches([columns.norm], chunk_rows(1))
        return np.concatenate([columns.read_norm(batch) for batch in batches])


def _products(columns: FeatureColumns, batch: Any, queries: np.ndarray) -> np.ndarray:
    """Inner products of the codes of a record batch with queries of any length."""
    length = np.linalg.norm(queries, axis=1, keepdims=True)
    unit = (queries / np.where(length > 0, length, 1.0)).astype(np.float32)
    return FewBitCode(columns.bits).products(*columns.read_codes(batch), unit) * length


def open_features(
    store: Store,
    n: int,
    learning_rates: tuple[float | None, ...],
    kind: Kind = "feature",
    feature_set: str = "",
) -> StoredFeatures:
    """The features of a store, coded ones as such; arguments as of `StoredFeatures`."""
    columns = select_columns(store, kind, 0, feature_set) if store.models else []
    is_coded = len(columns) == 1 and columns[0].code is not None
    cls = CodedFeatures if is_coded else StoredFeatures
    return cls(store, n, learning_rates, kind, feature_set)


def select_columns(store: Store, kind: Kind, model: int, feature_set: str) -> list[FeatureColumns]:
    """The columns of all feature sets, or of one."""
    columns = store.schema.columns(kind, model)
    if not feature_set:
        return columns
    return [columns[list(store.schema.feature_sets).index(feature_set)]]
