"""A bit for each number: Lance's index of Hamming distances over the signs of few-bit features.

Features of few bits were rotated at random, so the first of their numbers are a random sketch of
all. The share of equal signs of two sketches gives the cosine of the features (Charikar, STOC
2002), and with the norms, which are stored beside the signs, the score. Rows of few groups are read
as a whole: gradients hardly form groups, and looking at fewer of them lost more than it saved.
Lance's other codes (PQ, RaBitQ) are made of decoded rows, 16 times as large as rows of one bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from creditline.indexing.coded_rows import CodedRows
from creditline.indexing.ranker import strongest
from creditline.indexing.vector_codes import ROW, TABLE, VECTOR, list_column

SIGNS = 16384
"""Signs of an image, of all models together."""
POOL, CANDIDATES = 100, 10
"""Rows with the largest cosines, and candidates with the largest scores of them, times `top`."""
GROUP_ROWS = 8192
"""Rows of a group, which are read at once."""
TRAINING = {"sample_rate": 16, "max_iters": 5}
"""Rows for each group, and rounds, from which centers are learned."""
CACHE_BYTES = 2**28
"""Bytes of groups that stay in memory."""
NORMS = "norms"


class SignCodes:
    """Signs of few-bit features; see `VectorCodes`.

    Args:
        rows: the features.
    """

    def __init__(self, rows: CodedRows) -> None:
        self.rows, self.n = rows, rows.n
        self.query_factors, self.scores_of = rows.method.weighted_query_factors, rows.scores_of
        share = max(8, SIGNS // rows.models // 8 * 8)
        self.signs = rows.dim if rows.dim <= share else share

    def exact(self, queries: np.ndarray, top: int) -> np.ndarray:
        """See `VectorCodes`."""
        return self.rows.top(self.query_factors(queries), top)[0]

    def build(self, folder: Path) -> None:
        """See `VectorCodes`."""
        import lance

        width = self.rows.models * -(-self.signs // 8)
        vector, norms = pa.list_(pa.uint8(), width), pa.list_(pa.float64(), self.rows.models)
        fields = [pa.field(ROW, pa.int64()), pa.field(VECTOR, vector), pa.field(NORMS, norms)]
        schema = pa.schema(fields)

        def batches() -> Iterator[pa.RecordBatch]:
            start = 0
            for signs, lengths in self.rows.signs(self.signs):
                rows = pa.array(np.arange(start, start + len(signs)))
                columns = [rows, list_column(signs), list_column(lengths)]
                yield pa.record_batch(columns, schema=schema)
                start += len(signs)

        reader = pa.RecordBatchReader.from_batches(schema, batches())
        dataset = lance.write_dataset(reader, str(folder / TABLE), mode="create")
        dataset.create_index(
            VECTOR, "IVF_FLAT", metric="hamming", num_partitions=self._groups, **TRAINING
        )

    def open(self, folder: Path) -> None:
        """See `VectorCodes`."""
        import lance

        path = str(folder / TABLE)
        self._dataset: Any = lance.dataset(path, index_cache_size_bytes=CACHE_BYTES)
        column = self._dataset.to_table(columns=[NORMS]).column(NORMS).combine_chunks()
        self._norms = column.flatten().to_numpy().reshape(self.n, -1)

    def candidates(self, factors: np.ndarray, top: int) -> list[np.ndarray]:
        """See `VectorCodes`."""
        pools = self.pool(factors, top)
        return [np.sort(rows[strongest(scores, CANDIDATES * top)]) for rows, scores in pools]

    def pool(self, factors: np.ndarray, top: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Rows with the largest cosines to each query, ascending, and estimates of their scores."""
        forms, result = self.rows.forms(factors), []
        signs = [np.packbits(form.weights[:, : self.signs] >= 0, axis=1) for form in forms]
        for i, query in enumerate(np.concatenate(signs, axis=1)):
            rows, cosines = self._nearest(query, min(POOL * top, self.n))
            scores = np.zeros(len(rows))
            for c, form in enumerate(forms):
                products = np.linalg.norm(form.weights[i]) * self._norms[rows, c] * cosines
                scores += form.of_query(i).scores(products[None], rows)[0]
            result.append((rows, scores))
        return result

    def _nearest(self, query: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows whose signs are nearest to a query's, and the cosines that the signs stand for."""
        table = self._dataset.to_table(
            columns=[ROW, "_distance"],
            nearest={
                "column": VECTOR,
                "q": query,
                "k": count,
                "nprobes": self._groups,
                "metric": "hamming",
            },
        )
        rows = table.column(ROW).to_numpy()
        order = np.argsort(rows)
        different = table.column("_distance").to_numpy()[order] / (self.signs * self.rows.models)
        return rows[order], np.sin(np.pi * (0.5 - different))

    @property
    def _groups(self) -> int:
        return max(1, self.n // GROUP_ROWS)
