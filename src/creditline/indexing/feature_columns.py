"""The columns of one feature set under one model: unit features, or codes of few bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from creditline.features.few_bits import FewBitCode

NUMBER_BYTES = 8


@dataclass(frozen=True)
class FeatureColumns:
    """Columns of values, of norms, and of the factors of codes.

    Attributes:
        prefix: kind of the columns, and name of the feature set.
        model: number of the model.
        place: of the set in a feature.
        bits: of each stored number.
    """

    prefix: str
    model: str
    place: slice
    bits: int

    @property
    def code(self) -> FewBitCode | None:
        """The code of the values; None: they are in half precision."""
        return None if self.bits == 16 else FewBitCode(self.bits)

    @property
    def values(self) -> str:
        """Column of unit features or their codes."""
        return f"{self.prefix}_{self.model}"

    @property
    def norm(self) -> str:
        """Column of norms."""
        return f"{self.prefix}_norm_{self.model}"

    @property
    def factor(self) -> str:
        """Column of the factors of codes."""
        return f"{self.prefix}_factor_{self.model}"

    @property
    def names(self) -> list[str]:
        """All columns."""
        return [self.values, self.norm, *([] if self.code is None else [self.factor])]

    @property
    def size(self) -> int:
        """Numbers of a feature."""
        return self.place.stop - self.place.start

    @property
    def row_bytes(self) -> float:
        """Bytes of one row."""
        return self.size * self.bits / 8 + NUMBER_BYTES * len(self.names[1:])

    def fields(self) -> list[pa.Field]:
        """The columns' part of the table's schema."""
        kind: Any = pa.list_(pa.float16(), self.size)
        if self.code is not None:
            kind = pa.list_(pa.uint8(), self.size // self.code.per_byte)
        numbers = [pa.field(name, pa.float64()) for name in self.names[1:]]
        return [pa.field(self.values, kind), *numbers]

    def encode(self, unit: np.ndarray, norm: np.ndarray) -> dict[str, Any]:
        """Make the columns of some rows.

        Args:
            unit: features divided by their norms, float64 of shape `(b, k)`.
            norm: of the features, float64 of shape `(b,)`.
        """
        if self.code is None:
            return {self.values: _lists(unit.astype(np.float16)), self.norm: norm}
        codes, factor = self.code.encode(unit)
        return {self.values: _lists(codes), self.norm: norm, self.factor: factor}

    def decode(self, batch: Any) -> np.ndarray:
        """Return the features of a record batch, float64 of shape `(b, k)`."""
        if self.code is None:
            return self._rows(batch).astype(np.float64) * self.read_norm(batch)[:, None]
        return self.code.decode(*self.read_codes(batch))

    def read_codes(self, batch: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the codes of a record batch, and the factors of their levels, norms included."""
        return self._rows(batch), self._factor(batch) * self.read_norm(batch)

    def read_norm(self, batch: Any) -> np.ndarray:
        """Return the norms of a record batch."""
        return batch.column(self.norm).to_numpy()

    def _rows(self, batch: Any) -> np.ndarray:
        column = batch.column(self.values)
        return column.flatten().to_numpy().reshape(len(column), -1)

    def _factor(self, batch: Any) -> np.ndarray:
        return batch.column(self.factor).to_numpy()


def _lists(rows: np.ndarray) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])
