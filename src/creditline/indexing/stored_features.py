"""The features of an index as a feature table."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from creditline.features.table import FeatureTable
from creditline.indexing.store import Store
from creditline.indexing.table_schema import Kind


class StoredFeatures:
    """FeatureTable of a store, or their errors, as a feature table (see `FeatureTable`).

    Args:
        store: the index's table.
        n: its rows.
        learning_rates: of each model's checkpoint, or None.
        kind: which of the two.
    """

    def __init__(
        self,
        store: Store,
        n: int,
        learning_rates: tuple[float | None, ...],
        kind: Kind = "feature",
    ) -> None:
        self.store, self.n, self.kind = store, n, kind
        self.models, self.dim, self.learning_rates = store.models, store.dim, learning_rates
        self.errors: FeatureTable | None = None
        if store.halves and kind == "feature":
            self.errors = StoredFeatures(store, n, learning_rates, "error")

    def chunks(self, model: int) -> Iterator[tuple[int, np.ndarray]]:
        """Rows of one model, float64, chunk by chunk."""
        return self.store.chunks(model, self.kind)
