"""The answer to a question: pictures, the training images their scores point to, and whose.

A `Trace` holds plain values only (no tensors, no open files), so it can be kept, exported and
shown long after the index that produced it is gone.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from creditline.errors import DataError, unknown
from creditline.files import write_file
from creditline.settings import require, to_dict
from creditline.totals import Total

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "creditline-trace-2"
FLOOR = 3.0
"""Standard errors that a score has to be from 0 to count as more than noise.

Noise alone lifts one image in 740 above three; above two it would be one in 44, dozens of every
training set.
"""


@dataclass(frozen=True)
class MethodCard:
    """What a reader has to know about the method behind the scores.

    `causal` is True where a score estimates what training did to the query's loss, and False where
    it only says that two pictures look alike. `shape` is what shares are made of: a function of
    the score s, of which what is below 0 counts as 0.
    """

    name: str
    title: str
    paper: str
    formula: str
    causal: bool = True
    shape: str = "s"

    @property
    def meaning(self) -> str:
        """One line that says what a score of this method means."""
        if self.causal:
            return (
                "score > 0: training on the image is estimated to have lowered the picture's loss "
                "(proponent); score < 0: to have raised it (opponent)."
            )
        return (
            "higher score: the two pictures look more alike; it does not say what the model "
            "learned from the image."
        )


@dataclass(frozen=True)
class Hit:
    """One training image at one end of a query's ranking.

    Args:
        row: position in the index. id: content hash of its pixels. name: path in its source.
        contributor, text, label: whose it is, its caption and its class, where known.
        score: positive for proponents (see `MethodCard.meaning`).
        rank: 1 is the strongest of its list.
        z: (score - mean) / std over all training images of this query; 0 where std is 0.
        image: PNG bytes.
        self_influence: the image's score with itself as the query, where the method has one.
        error: standard error of the score, from the noise of its features, where known.
    """

    row: int
    id: str
    name: str
    contributor: str | None
    text: str | None
    label: str | None
    score: float
    rank: int
    z: float
    image: bytes = field(repr=False)
    self_influence: float | None = None
    error: float | None = None

    @property
    def above(self) -> bool | None:
        """Whether the score is further from 0 than `FLOOR` standard errors; None: not known."""
        return None if self.error is None else abs(self.score) > FLOOR * self.error


@dataclass(frozen=True)
class Region:
    """The part of a picture that was traced.

    Args:
        id: content hash of the mask. share: of the picture that it is, above 0 and at most 1.
        mask: PNG bytes of the size of the picture's, gray: white counts.
    """

    id: str
    share: float
    mask: bytes = field(repr=False)

    def __str__(self) -> str:
        return f"only a part of it, {100 * self.share:.3g} % of its area"


@dataclass(frozen=True)
class QueryTrace:
    """One picture with the two ends of its ranking of all training images.

    Args:
        id, name, text: content hash, file name and caption or prompt of the picture.
        image: PNG bytes.
        proponents, opponents: strongest first; highest scores and lowest scores.
        totals: by column of the metadata ("contributor", "label"), largest share first.
        mean, std: of the scores over all training images. n_positive: how many are above 0.
        error: standard error of the scores from the noise of their features, root mean square over
            images. n_above: how many are above `FLOOR` times their own. reliability: expected
            correlation with the scores of fresh noise. All None where the noise is not known.
        details: what is known of how it was made, such as seed and steps.
        region: the part of it that scores are about; None: all of it.
    """

    id: str
    name: str
    text: str | None
    image: bytes = field(repr=False)
    proponents: tuple[Hit, ...]
    opponents: tuple[Hit, ...]
    totals: Mapping[str, tuple[Total, ...]]
    mean: float
    std: float
    n_positive: int
    error: float | None = None
    n_above: int | None = None
    reliability: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    region: Region | None = None


@dataclass(frozen=True)
class Trace:
    """Queries × (proponents, opponents, totals), with the settings that produced them.

    Args:
        method: see `MethodCard`.
        settings: sections ("model", "data", "features", "curvature"), each a flat or nested dict.
        n_train: images in the index.
        queries: in the order asked.
        created: ISO time. version: of Creditline.
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
        """The columns that `by` and `overall` accept."""
        return tuple(self.queries[0].totals) if self.queries else ()

    def to_pandas(self) -> pd.DataFrame:
        """One row per query and hit, without the pictures.

        Columns: query (position), query_name, list ("proponents" or "opponents"), rank, sign (of
        the score: 1, 0 or -1), then the fields of `Hit`; where regions were traced, at last region:
        the hash of the query's mask, missing for a whole picture.
        """
        import pandas as pd

        fields = [f.name for f in dataclasses.fields(Hit) if f.name not in ("image", "rank")]

        def sign(score: float) -> int:
            return (score > 0) - (score < 0)

        rows = [
            (
                *(i, query.name, end, hit.rank, sign(hit.score)),
                *(getattr(hit, f) for f in fields),
                query.region.id if query.region else None,
            )
            for i, query in enumerate(self.queries)
            for end in ("proponents", "opponents")
            for hit in getattr(query, end)
        ]
        names = ["query", "query_name", "list", "rank", "sign", *fields, "region"]
        frame = pd.DataFrame(rows, columns=names)
        return frame if any(q.region for q in self.queries) else frame.drop(columns="region")

    def by(self, column: str = "contributor") -> pd.DataFrame:
        """One row per query and group, over all training images: the fields of `Total`.

        Raises:
            SettingsError: if the training images have no such column.
        """
        import pandas as pd

        self._known(column)
        fields = [f.name for f in dataclasses.fields(Total)]
        rows = [
            (i, query.name, *(getattr(total, name) for name in fields))
            for i, query in enumerate(self.queries)
            for total in query.totals[column]
        ]
        names = [column if name == "name" else name for name in fields]
        return pd.DataFrame(rows, columns=["query", "query_name", *names])

    def overall(self, column: str = "contributor") -> tuple[Total, ...]:
        """Totals over all queries, largest share first.

        `score`, `credit` and `top` are sums over the queries; `share` is the mean of the queries'
        shares, because scores of different queries have different scales and a sum would be ruled
        by the loudest.

        Raises:
            SettingsError: if the training images have no such column.
        """
        self._known(column)
        groups: dict[str | None, list[Total]] = {}
        for query in self.queries:
            for total in query.totals[column]:
                groups.setdefault(total.name, []).append(total)
        merged = [
            Total(
                name=name,
                n=parts[0].n,
                score=sum(part.score for part in parts),
                credit=sum(part.credit for part in parts),
                share=sum(part.share for part in parts) / len(self.queries),
                share_error=_mean_error([part.share_error for part in parts]),
                top=sum(part.top for part in parts),
            )
            for name, parts in groups.items()
        ]
        return tuple(sorted(merged, key=lambda total: (-total.share, -total.score)))

    def to_html(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the report, one self-contained page, and return its path."""
        from creditline import report

        return report.write(self, path, overwrite=overwrite)

    def to_csv(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write `to_pandas()` as UTF-8 CSV and return its path."""
        frame = self.to_pandas()
        return write_file(path, lambda p: frame.to_csv(p, index=False), overwrite=overwrite)

    def to_parquet(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write `to_pandas()` as Parquet and return its path."""
        frame = self.to_pandas()
        return write_file(path, lambda p: frame.to_parquet(p, index=False), overwrite=overwrite)

    def to_json(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write everything, pictures included (base64 PNG), for `from_json`; return the path."""
        text = json.dumps(
            {"format": FORMAT, **to_dict(self)}, default=_encode, ensure_ascii=False, indent=1
        )
        return write_file(path, lambda p: p.write_text(text, "utf-8"), overwrite=overwrite)

    @classmethod
    def from_json(cls, path: str | Path) -> Trace:
        """The trace that `to_json` wrote.

        Raises:
            DataError: if the file cannot be read or is not such a trace.
        """
        try:
            values = json.loads(Path(path).read_text("utf-8"))
            if values.pop("format") != FORMAT:
                raise ValueError("another format")
            queries = tuple(_query(query) for query in values.pop("queries"))
            return cls(method=MethodCard(**values.pop("method")), queries=queries, **values)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(
                f"Cannot read a trace from {path} ({error}). Give a file written by to_json()."
            ) from error

    def __repr__(self) -> str:
        verb = "owes most to" if self.method.causal else "looks most like"
        lines = [
            f"Trace of {len(self)} picture{'s' * (len(self) != 1)} over {self.n_train:,} training "
            f"images by {self.method.title}"
        ]
        for query in self.queries[:8]:
            if not query.proponents:
                continue
            hit = query.proponents[0]
            whose = f" by {hit.contributor}" if hit.contributor else ""
            lines.append(
                f"  {query.name} {verb} {hit.name}{whose}: {hit.score:+.3g} ({hit.z:+.1f} sd)"
            )
        if len(self) > 8:
            lines.append(f"  ... and {len(self) - 8} more")
        lines.append(f"  {self.method.meaning}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from creditline import report

        return report.fragment(self)

    def _known(self, column: str) -> None:
        require(bool(self.queries), "Totals need at least one query", 0, "Trace a picture first.")
        if column not in self.columns:
            raise unknown("column to total by", column, self.columns)


def _mean_error(errors: Sequence[float | None]) -> float | None:
    """Standard error of a mean at most; None where one is not known.

    The noise of the training images is in all queries, so it does not average out.
    """
    known = [error for error in errors if error is not None]
    return sum(known) / len(known) if len(known) == len(errors) else None


def _region(values: dict[str, Any] | None) -> Region | None:
    if values is None:
        return None
    return Region(**{**values, "mask": base64.b64decode(values["mask"])})


def _encode(value: object) -> object:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, np.generic):
        return value.item()
    return str(value)


def _query(values: dict[str, Any]) -> QueryTrace:
    def hits(items: list[dict[str, Any]]) -> tuple[Hit, ...]:
        return tuple(Hit(**{**item, "image": base64.b64decode(item["image"])}) for item in items)

    return QueryTrace(
        **{
            **values,
            "image": base64.b64decode(values["image"]),
            "region": _region(values.get("region")),
            "proponents": hits(values["proponents"]),
            "opponents": hits(values["opponents"]),
            "totals": {
                column: tuple(Total(**total) for total in totals)
                for column, totals in values["totals"].items()
            },
        }
    )
