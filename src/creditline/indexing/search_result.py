"""The result of a search: positions and scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from creditline.settings import require

if TYPE_CHECKING:
    import pandas as pd

    from creditline.indexing.store import Store


@dataclass(frozen=True)
class SearchResult:
    """The training images at one end of each query's ranking.

    Attributes:
        rows: positions in the index, strongest first, shape `(m, top)`.
        scores: float64 of the same shape.
        names: of the queries.
        expected_recall: of an approximate search, as measured when it was built; see
            `creditline.indexing.nearest`. None for an exact one.
        store: the index's table, for names.
    """

    rows: np.ndarray
    scores: np.ndarray
    names: tuple[str, ...]
    expected_recall: float | None
    store: Store

    def recall(self, exact: SearchResult) -> float:
        """Share of an exact search's images that this search returned, over all queries.

        Raises:
            SettingsError: if the two results have different shapes.
        """
        require(
            self.rows.shape == exact.rows.shape,
            f"Results to compare have one shape, {self.rows.shape}",
            exact.rows.shape,
            "Search the same images with the same top.",
        )
        pairs = zip(self.rows, exact.rows, strict=True)
        return float(np.mean([np.isin(rows, mine).mean() for mine, rows in pairs]))

    def to_pandas(self) -> pd.DataFrame:
        """One row per query and image.

        Columns: query (position), query_name, rank, row, id, name, contributor, score.
        """
        import pandas as pd

        m, top = self.rows.shape
        unique, back = np.unique(self.rows, return_inverse=True)
        facts = self.store.facts_of(unique, ("id", "name", "contributor"))
        columns = {key: np.array(values, object)[back.ravel()] for key, values in facts.items()}
        return pd.DataFrame(
            {
                "query": np.repeat(np.arange(m), top),
                "query_name": np.repeat(np.array(self.names, object), top),
                "rank": np.tile(np.arange(1, top + 1), m),
                "row": self.rows.ravel(),
                **columns,
                "score": self.scores.ravel(),
            }
        )
