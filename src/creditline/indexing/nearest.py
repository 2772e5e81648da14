"""Approximate search: Lance's IVF-PQ index over train-side factors, largest inner product.

The rows are grouped around centers (IVF) and each is coded in a byte for 16 numbers (PQ). A query
looks at the groups nearest to it, takes the candidates whose coded inner product is largest, and
scores those exactly. It may miss images. The share of the exact top that it returns is measured
when the search is built, on training images taken as queries, and kept.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from creditline.checksum import FileRecord, records_from_json, records_to_json
from creditline.errors import DamageError
from creditline.files import make_folder
from creditline.indexing.factor_cache import FactorCache
from creditline.json_schema import FILES, JsonSchema, obj
from creditline.leftovers import discard
from creditline.notice import notice
from creditline.owner import aside_prefix
from creditline.settings import require
from creditline.stored_json import read_json, write_json

FEWEST = 1024
"""Rows below which codes cannot be learned, and an exact search takes no time."""
GROUP = 16
"""Numbers to a byte of code."""
CODES = 256
"""Values of a byte."""
TRAINING_ROWS, ROUNDS = 64, 20
"""Rows for each center and each code, and rounds of k-means, from which they are learned."""
PROBES = 0.7
"""Share of the groups that a query looks at: gradients hardly form groups, and codes are small."""
CANDIDATES = 25
"""Candidates that are scored exactly, times `top`."""
SAMPLE, TOP = 64, 20
"""Training images, and hits of each, on which recall is measured."""
RECALL = "recall.json"
"""Recall, and the checksums of the other files."""
ADVICE = "It is built again from the stored factors."
SCHEMA = JsonSchema(obj({"files": FILES, "recall": {"type": "number", "minimum": 0, "maximum": 1}}))
VECTOR, ROW = "vector", "row"


class Nearest:
    """An approximate search over stored rows.

    Args:
        folder: that `load_or_build` wrote.
        rows: the factors that it searches.

    Attributes:
        recall: measured share of the exact top 20, for training images as queries.

    Raises:
        DamageError: if a file is missing or damaged.
    """

    def __init__(self, folder: Path, rows: FactorCache) -> None:
        import lance

        self.rows = rows
        values = read_json(folder / RECALL, ADVICE, SCHEMA)
        for name, record in records_from_json(values["files"]).items():
            record.check(folder / name, ADVICE)
        self.recall: float = values["recall"]
        self._dataset: Any = lance.dataset(str(folder / "rows.lance"))

    def top(self, factors: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
        """As `FactorCache.top`, among the candidates."""
        return self.rows.rescore(factors, _candidates(self._dataset, factors, top), top)


def load_or_build(folder: Path, rows: FactorCache, sample: Callable[[], np.ndarray]) -> Nearest:
    """The approximate search over some factors, from `folder` if it is there.

    Args:
        folder: of this search alone.
        rows: factors to search.
        sample: returns factors of some queries, `(b, C, k)`, on which to measure recall.

    Raises:
        SettingsError: if there are too few rows.
    """
    require(
        rows.n >= FEWEST,
        f"Approximate search needs at least {FEWEST:,} images",
        rows.n,
        "Search exactly, which takes no time here.",
    )
    if folder.is_dir():
        try:
            return Nearest(folder, rows)
        except DamageError as error:
            notice(str(error))
            discard(folder)
    make_folder(folder.parent)
    # Of this process alone: others may build it at the same time.
    with tempfile.TemporaryDirectory(prefix=aside_prefix(), dir=folder.parent) as aside:
        part = Path(aside) / folder.name
        _write(part, rows, sample())
        with suppress(OSError):  # another process was as fast
            part.rename(folder)
    return Nearest(folder, rows)


def _write(part: Path, rows: FactorCache, factors: np.ndarray) -> None:
    """Build the search, and measure its recall with some factors as queries."""
    dataset = _build(part / "rows.lance", rows)
    exact, _ = rows.top(factors, TOP)
    approximate, _ = rows.rescore(factors, _candidates(dataset, factors, TOP), TOP)
    hits = [np.isin(a, b).mean() for a, b in zip(exact, approximate, strict=True)]
    files = {p.relative_to(part).as_posix(): FileRecord.of(p) for p in _files(part)}
    values = {"recall": float(np.mean(hits)), "queries": len(factors), "top": TOP}
    write_json(part / RECALL, {**values, "files": records_to_json(files)})


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _build(path: Path, rows: FactorCache) -> Any:
    import lance
    from lance.indices import IndicesBuilder, IvfModel

    width = rows.models * rows.dim
    padded = -(-width // GROUP) * GROUP
    kind = pa.list_(pa.float16(), padded)
    schema = pa.schema([pa.field(ROW, pa.int64()), pa.field(VECTOR, kind)])

    def batches() -> Iterator[pa.RecordBatch]:
        # One scale for all preserves their order; half precision needs lengths of at most 1.
        scale = 1.0 / max(float(np.linalg.norm(rows.lengths, axis=0).max()), 1e-300)
        for start, units in rows.blocks():
            b = units.shape[1]
            lengths = rows.lengths[:, start : start + b, None] * scale
            vectors = np.zeros((b, padded), np.float16)
            vectors[:, :width] = (units * lengths).transpose(1, 0, 2).reshape(b, width)
            columns = [pa.array(np.arange(start, start + b)), _vectors(vectors)]
            yield pa.record_batch(columns, schema=schema)

    reader = pa.RecordBatchReader.from_batches(schema, batches())
    dataset = lance.write_dataset(reader, str(path), mode="create")
    # Centers and codes are learned here: `create_index` would need more memory for more rows.
    builder, groups, bytes_ = IndicesBuilder(dataset, VECTOR), _groups(rows.n), padded // GROUP
    rate = {"sample_rate": min(TRAINING_ROWS, rows.n // groups), "max_iters": ROUNDS}
    centers = builder.train_ivf(groups, distance_type="dot", **rate)
    # With inner products rows are coded without subtracting a center: one center, at zero.
    origin = IvfModel(_vectors(np.zeros((1, padded), np.float16)), "l2")
    rate["sample_rate"] = min(TRAINING_ROWS, rows.n // CODES)
    codes = builder.train_pq(origin, bytes_, **rate)
    return dataset.create_index(
        VECTOR,
        "IVF_PQ",
        metric="dot",
        num_partitions=groups,
        num_sub_vectors=bytes_,
        ivf_centroids=centers.centroids,
        pq_codebook=codes.codebook,
    )


def _vectors(array: np.ndarray) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), array.shape[1])


def _groups(n: int) -> int:
    """Fewer than usual: learning centers costs their square, and scanning codes very little."""
    return max(1, math.isqrt(n) // 4)


def _candidates(dataset: Any, factors: np.ndarray, top: int) -> list[np.ndarray]:
    """Positions, ascending, of the rows to be scored for each query."""
    n = dataset.count_rows()
    probes = max(1, math.ceil(PROBES * _groups(n)))
    width = dataset.schema.field(VECTOR).type.list_size
    candidates = []
    for factor in factors.reshape(len(factors), -1):
        query = np.zeros(width, np.float32)
        query[: len(factor)] = factor / max(float(np.linalg.norm(factor)), 1e-300)
        table = dataset.to_table(
            columns=[ROW, "_distance"],
            nearest={
                "column": VECTOR,
                "q": query,
                "k": min(CANDIDATES * top, n),
                "nprobes": probes,
                "metric": "dot",
            },
        )
        candidates.append(np.sort(table.column(ROW).to_numpy()))
    return candidates
