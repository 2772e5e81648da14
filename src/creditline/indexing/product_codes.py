"""A byte for 16 numbers: Lance's IVF-PQ index over stored factors, largest inner product.

The rows are grouped around centers (IVF) and each is coded in a byte for 16 numbers (PQ). A query
looks at the groups nearest to it, and takes the rows whose coded inner product is largest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from creditline.indexing.factor_cache import FactorCache
from creditline.indexing.vector_codes import ROW, TABLE, VECTOR, list_column
from creditline.methods.bilinear import BilinearAttributor

GROUP = 16
"""Numbers to a byte of code."""
CODES = 256
"""Values of a byte."""
TRAINING_ROWS, ROUNDS = 64, 20
"""Rows for each center and each code, and rounds of k-means, from which they are learned."""
CANDIDATES = 25
"""Candidates that are scored exactly, times `top`."""
PROBES = 0.7
"""Share of the groups that a query looks at: gradients hardly form groups, and codes are small."""


class ProductCodes:
    """Product codes of stored factors; see `VectorCodes`.

    Args:
        rows: the factors.
        method: whose factors they are.
    """

    def __init__(self, rows: FactorCache, method: BilinearAttributor) -> None:
        self.rows, self.n = rows, rows.n
        self.query_factors, self.scores_of = method.weighted_query_factors, rows.scores_of

    def exact(self, queries: np.ndarray, top: int) -> np.ndarray:
        """See `VectorCodes`."""
        return self.rows.top(self.query_factors(queries), top)[0]

    def build(self, folder: Path) -> None:
        """See `VectorCodes`."""
        import lance
        from lance.indices import IndicesBuilder, IvfModel

        rows = self.rows
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
                columns = [pa.array(np.arange(start, start + b)), list_column(vectors)]
                yield pa.record_batch(columns, schema=schema)

        reader = pa.RecordBatchReader.from_batches(schema, batches())
        dataset = lance.write_dataset(reader, str(folder / TABLE), mode="create")
        # Centers and codes are learned here: `create_index` would need more memory for more rows.
        builder, groups, bytes_ = IndicesBuilder(dataset, VECTOR), _groups(rows.n), padded // GROUP
        rate = {"sample_rate": min(TRAINING_ROWS, rows.n // groups), "max_iters": ROUNDS}
        centers = builder.train_ivf(groups, distance_type="dot", **rate)
        # With inner products rows are coded without subtracting a center: one center, at zero.
        origin = IvfModel(list_column(np.zeros((1, padded), np.float16)), "l2")
        rate["sample_rate"] = min(TRAINING_ROWS, rows.n // CODES)
        codes = builder.train_pq(origin, bytes_, **rate)
        dataset.create_index(
            VECTOR,
            "IVF_PQ",
            metric="dot",
            num_partitions=groups,
            num_sub_vectors=bytes_,
            ivf_centroids=centers.centroids,
            pq_codebook=codes.codebook,
        )

    def open(self, folder: Path) -> None:
        """See `VectorCodes`."""
        import lance

        self._dataset: Any = lance.dataset(str(folder / TABLE))

    def candidates(self, factors: np.ndarray, top: int) -> list[np.ndarray]:
        """See `VectorCodes`."""
        probes = max(1, math.ceil(PROBES * _groups(self.n)))
        width = self._dataset.schema.field(VECTOR).type.list_size
        candidates = []
        for factor in factors.reshape(len(factors), -1):
            query = np.zeros(width, np.float32)
            query[: len(factor)] = factor / max(float(np.linalg.norm(factor)), 1e-300)
            table = self._dataset.to_table(
                columns=[ROW, "_distance"],
                nearest={
                    "column": VECTOR,
                    "q": query,
                    "k": min(CANDIDATES * top, self.n),
                    "nprobes": probes,
                    "metric": "dot",
                },
            )
            candidates.append(np.sort(table.column(ROW).to_numpy()))
        return candidates


def _groups(n: int) -> int:
    """Fewer than usual: learning centers costs their square, and scanning codes very little."""
    return max(1, math.isqrt(n) // 4)
