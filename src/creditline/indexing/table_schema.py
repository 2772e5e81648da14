"""The columns of an index's table, and rows of images and features in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from creditline.data.captions import write_captions
from creditline.data.image_set import ImageSet
from creditline.errors import NumericsError
from creditline.indexing.feature_columns import FeatureColumns
from creditline.indexing.metadata_columns import write_columns
from creditline.indexing.thumbnail import compact

KEY = "row"
MASK = "mask"
CAPTIONS = "captions"
THUMBNAIL = "thumbnail"
Kind = Literal["feature", "error"]
KINDS: tuple[Kind, ...] = ("feature", "error")
FACTS = ("id", "name", "contributor", "text", "label", "columns")


@dataclass(frozen=True)
class TableSchema:
    """Columns: key, facts, thumbnail, and per model and feature set a unit feature and its norm.

    With halves there are the same columns for a sample of the feature's error. Features are stored
    in half precision, or in codes of few bits, after division by their norm, so that neither
    overflow nor underflow depends on the objective's scale. Several feature sets have a norm each
    for the same reason. Codes have the factor of their levels in a third column.

    Attributes:
        models: number of models C; 0 where the index holds no features.
        dim: feature dimension k, of all sets together.
        halves: whether errors are stored beside the features.
        masked: whether images have masks, whose hashes are stored.
        feature_sets: size of each feature set, in order, where there are several.
        bits: of each stored number, for each feature set.
        captioned: whether all captions of images with several are stored.
    """

    models: int
    dim: int
    halves: bool
    masked: bool = False
    feature_sets: Mapping[str, int] = field(default_factory=dict)
    bits: tuple[int, ...] = (16,)
    captioned: bool = False

    @property
    def facts(self) -> tuple[str, ...]:
        """Columns of facts."""
        return (*FACTS, *self._optional())

    def _optional(self) -> list[str]:
        """Columns of facts that only some tables have."""
        return [MASK] * self.masked + [CAPTIONS] * self.captioned

    def columns(self, kind: Kind, model: int) -> list[FeatureColumns]:
        """The columns of each feature set."""
        if len(self.feature_sets) < 2:
            return [FeatureColumns(kind, f"{model}", slice(0, self.dim), self.bits[0])]
        columns, start = [], 0
        for (name, size), bits in zip(self.feature_sets.items(), self.bits, strict=True):
            place = slice(start, start + size)
            columns.append(FeatureColumns(f"{kind}_{name}", f"{model}", place, bits))
            start += size
        return columns

    @property
    def feature_bytes(self) -> float:
        """Bytes of the features of one row."""
        kinds = KINDS[: 1 + self.halves]
        return sum(
            own.row_bytes
            for c in range(self.models)
            for kind in kinds
            for own in self.columns(kind, c)
        )

    def arrow(self) -> pa.Schema:
        """The schema of the table."""
        fields = [
            pa.field(KEY, pa.int64()),
            pa.field("id", pa.string()),
            pa.field("name", pa.string()),
            pa.field("contributor", pa.string()),
            pa.field("text", pa.string()),
            pa.field("label", pa.int64()),
            pa.field("columns", pa.string()),
            pa.field(THUMBNAIL, pa.binary()),
        ]
        fields += [pa.field(name, pa.string()) for name in self._optional()]
        for c in range(self.models):
            for kind in KINDS[: 1 + self.halves]:
                for columns in self.columns(kind, c):
                    fields += columns.fields()
        return pa.schema(fields)

    def rows(
        self, images: ImageSet, indices: Sequence[int], features: np.ndarray, first: int
    ) -> pa.Table:
        """Rows of some images.

        Args:
            images: the image set.
            indices: positions in it.
            features: float32 of shape `(b, units, C, k)`: the features, and with halves their
                errors.
            first: key of the first image of the set.

        Raises:
            NumericsError: if a feature is not finite; the image is named.
        """
        columns: dict[str, Any] = {
            KEY: np.asarray(indices, dtype=np.int64) + first,
            "id": [images.ids[i] for i in indices],
            "name": [images.names[i] for i in indices],
            "contributor": [images.contributors[i] for i in indices],
            "text": [images.texts[i] for i in indices],
            "label": [images.labels[i] for i in indices],
            "columns": [write_columns(images.columns, i) for i in indices],
            THUMBNAIL: [compact(images.image(i)) for i in indices],
        }
        if self.masked:
            keys = images.mask_ids or (None,) * len(images)
            columns[MASK] = [keys[i] for i in indices]
        if self.captioned:
            each = images.captions or (None,) * len(images)
            columns[CAPTIONS] = [write_captions(each[i]) for i in indices]
        names = [images.names[i] for i in indices]
        for c in range(self.models):
            for unit, kind in enumerate(KINDS[: 1 + self.halves]):
                for own in self.columns(kind, c):
                    columns |= own.encode(*normalize(features[:, unit, c, own.place], names))
        return pa.table(columns, schema=self.arrow())


def normalize(features: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows and their norms, both in double; zero rows stay zero.

    Raises:
        NumericsError: naming the image whose feature is not finite.
    """
    bad = ~np.isfinite(features).all(axis=1)
    if bad.any():
        raise NumericsError(
            f"The feature of image {names[int(np.argmax(bad))]} is not finite "
            f"({int(bad.sum())} such in this shard). Run `creditline doctor` on the model."
        )
    norm = np.linalg.norm(features.astype(np.float64), axis=1)
    unit = features / np.where(norm > 0, norm, 1.0)[:, None]
    return unit, norm
