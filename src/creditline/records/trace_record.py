"""The values of a trace, without its exports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from creditline.credit.totals import Total, average
from creditline.errors import unknown
from creditline.records.method_card import MethodCard
from creditline.records.query_trace import QueryTrace
from creditline.settings import require


@dataclass(frozen=True)
class TraceRecord:
    """Traced query images and the settings that produced their scores.

    Args:
        method: behind the scores.
        settings: sections ("model", "data", "features", "curvature"), each a flat or nested dict.
        n_train: number of images in the index.
        queries: in the order of the call.
        created: ISO time.
        version: of Creditline.
    """

    method: MethodCard
    settings: Mapping[str, Mapping[str, Any]]
    n_train: int
    queries: tuple[QueryTrace, ...]
    created: str
    version: str

    def __len__(self) -> int:
        return len(self.queries)

    def __getitem__(self, position: int) -> QueryTrace:
        return self.queries[position]

    def __iter__(self) -> Iterator[QueryTrace]:
        return iter(self.queries)

    @property
    def columns(self) -> tuple[str, ...]:
        """The metadata columns that have totals."""
        return tuple(self.queries[0].totals) if self.queries else ()

    def overall(self, column: str = "contributor") -> tuple[Total, ...]:
        """Combine the totals of all queries, largest share first; see `credit.totals.average`.

        Raises:
            SettingsError: if the training images have no such column, or there is no query.
        """
        self._require_column(column)
        return average([query.totals[column] for query in self.queries])

    def _require_column(self, column: str) -> None:
        require(
            bool(self.queries), "Totals need at least one query", 0, "Trace a query image first."
        )
        if column not in self.columns:
            raise unknown("column to total by", column, self.columns)
