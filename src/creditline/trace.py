"""The result of tracing: query images and the training images their scores point to.

A `Trace` holds plain values only, so it can be kept, exported and shown without the index that
produced it.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from creditline import report
from creditline.credit.totals import Total
from creditline.csv_table import write_csv
from creditline.data.names import normalize_name
from creditline.errors import DataError
from creditline.files import write_file
from creditline.records import Hit, MethodCard, QueryTrace, Region, Removal, TraceRecord
from creditline.records.trace_schema import TRACE
from creditline.settings import to_dict
from creditline.stored_json import read_json, write_json
from creditline.visible import visible

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "creditline-trace-4"
LINES = 8  # of `repr`

Export = Callable[..., Path]
EXPORTS: dict[str, Export] = {}
"""Every `Trace.to_FORMAT` method that writes a file, by format; command-line options follow it."""


def _export(method: Export) -> Export:
    EXPORTS[method.__name__.removeprefix("to_")] = method
    return method


@dataclass(frozen=True)
class Trace(TraceRecord):
    """Traced query images, with the exports of their rankings and totals.

    Attributes:
        method: description of the method behind the scores.
        settings: of the method, by section.
        n_train: number of images in the index.
        queries: one `QueryTrace` per query image; `len`, indexing and iteration go over them.
    """

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per query and hit, without pixels.

        Returns:
            A frame with the columns `query` (position), `query_name`, `list` ("proponents" or
            "opponents"), `rank`, `sign` (of the score: 1, 0 or -1), and the fields of `Hit`. If
            the training images have further metadata, `columns` has it as one JSON object of text
            for each hit. If regions were traced, a last column `region` has the hash of the query's
            mask, missing where all of the image was traced.
        """
        import pandas as pd

        apart = ("image", "rank", "columns")
        fields = [f.name for f in dataclasses.fields(Hit) if f.name not in apart]

        def sign(score: float) -> int:
            return (score > 0) - (score < 0)

        rows = [
            (
                *(i, query.name, end, hit.rank, sign(hit.score)),
                *(getattr(hit, f) for f in fields),
                json.dumps(dict(hit.columns), ensure_ascii=False),
                query.region.id if query.region else None,
            )
            for i, query in enumerate(self.queries)
            for end in ("proponents", "opponents")
            for hit in getattr(query, end)
        ]
        names = ["query", "query_name", "list", "rank", "sign", *fields, "columns", "region"]
        hits = [hit for q in self.queries for hit in (*q.proponents, *q.opponents)]
        known = {
            "columns": any(hit.columns for hit in hits),
            "region": any(query.region for query in self.queries),
        }
        unused = [name for name, is_known in known.items() if not is_known]
        return pd.DataFrame(rows, columns=names).drop(columns=unused)

    def by(self, column: str = "contributor") -> pd.DataFrame:
        """Return one row per query and group, over all training images.

        Args:
            column: metadata column that defines the groups, one of `columns`.

        Returns:
            A frame with the columns `query` (position), `query_name`, and the fields of `Total`,
            of which `name` is called as the metadata column.

        Raises:
            SettingsError: if the training images have no such column.
        """
        import pandas as pd

        column = normalize_name(column)
        self._require_column(column)
        fields = [f.name for f in dataclasses.fields(Total)]
        rows = [
            (i, query.name, *(getattr(total, name) for name in fields))
            for i, query in enumerate(self.queries)
            for total in query.totals[column]
        ]
        names = [column if name == "name" else name for name in fields]
        return pd.DataFrame(rows, columns=["query", "query_name", *names])

    @_export
    def to_html(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the report, one self-contained page.

        Returns:
            The path.

        Raises:
            SettingsError: if the file exists and `overwrite` is False, or there is no query.
        """
        return report.write(self, path, overwrite=overwrite)

    @_export
    def to_csv(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write `to_pandas()` as UTF-8 CSV; text that begins as a formula is escaped.

        See `creditline.csv_table`. Parquet and JSON keep text as it is.

        Returns:
            The path.

        Raises:
            SettingsError: if the file exists and `overwrite` is False.
        """
        frame = self.to_pandas()
        return write_file(path, lambda p: write_csv(frame, p), overwrite=overwrite)

    @_export
    def to_parquet(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write `to_pandas()` as Parquet.

        Returns:
            The path.

        Raises:
            SettingsError: if the file exists and `overwrite` is False.
        """
        frame = self.to_pandas()
        return write_file(path, lambda p: frame.to_parquet(p, index=False), overwrite=overwrite)

    @_export
    def to_json(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write everything, images included (base64 PNG), for `from_json`.

        Returns:
            The path.

        Raises:
            SettingsError: if the file exists and `overwrite` is False.
        """
        values = {"format": FORMAT, **to_dict(self)}
        write_json(path, values, overwrite=overwrite, indent=1, default=_encode)
        return Path(path)

    @classmethod
    def from_json(cls, path: str | Path) -> Trace:
        """Read a trace that `to_json` wrote.

        Raises:
            DataError: if the file is no trace.
            DamageError: if it is missing, or its contents are not those that were written.
        """
        values = read_json(Path(path), "Give a file that to_json() (--json) wrote.", TRACE)
        try:
            if values.pop("format") != FORMAT:
                raise ValueError("another format")
            queries = tuple(_query(query) for query in values.pop("queries"))
            return cls(method=MethodCard(**values.pop("method")), queries=queries, **values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(
                f"Cannot read a trace from {path} ({error}). Give a file written by to_json()."
            ) from error

    def __repr__(self) -> str:
        verb = "owes most to" if self.method.causal else "is most similar to"
        lines = [
            f"Trace of {len(self)} query image{'s' * (len(self) != 1)} over {self.n_train:,} "
            f"training images by {self.method.title}"
        ]
        for query in self.queries[:LINES]:
            if not query.proponents:
                continue
            hit = query.proponents[0]
            by = f" by {hit.contributor}" if hit.contributor else ""
            names = visible(f"{query.name} {verb} {hit.name}{by}")
            lines.append(f"  {names}: {hit.score:+.3g} ({hit.z:+.1f} sd)")
        if len(self) > LINES:
            lines.append(f"  ... and {len(self) - LINES} more")
        lines.append(f"  {self.method.meaning}")
        return visible("\n".join(lines), keep="\n")

    def _repr_html_(self) -> str:
        return report.fragment(self)


def _encode(value: object) -> object:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, np.generic):
        return value.item()
    return str(value)


def _query(values: dict[str, Any]) -> QueryTrace:
    noise = [values.get(name) for name in ("error", "n_above_noise", "reliability")]
    if None in noise and noise != [None] * 3:
        raise ValueError("the noise of a query is known in part")
    return QueryTrace(
        **{
            **values,
            "image": base64.b64decode(values["image"]),
            "region": _region(values.get("region")),
            "removals": tuple(
                Removal(**{**removal, "image": base64.b64decode(removal["image"])})
                for removal in values.get("removals", ())
            ),
            "proponents": _hits(values["proponents"]),
            "opponents": _hits(values["opponents"]),
            "totals": {
                column: tuple(Total(**total) for total in totals)
                for column, totals in values["totals"].items()
            },
        }
    )


def _hits(items: list[dict[str, Any]]) -> tuple[Hit, ...]:
    return tuple(Hit(**{**item, "image": base64.b64decode(item["image"])}) for item in items)


def _region(values: dict[str, Any] | None) -> Region | None:
    if values is None:
        return None
    return Region(**{**values, "mask": base64.b64decode(values["mask"])})
