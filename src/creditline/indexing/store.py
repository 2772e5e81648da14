"""The store: one Lance table of training images and their features, written shard by shard.

A shard's rows are written first as a data file of their own; a small JSON file, moved into place
atomically, then declares them written. A process killed in between leaves a data file that nothing
refers to, and the shard is computed again. When all shards are declared, one commit makes them a
table. Rows are in image order whatever order the shards finished in.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from PIL import Image

from creditline.data.image_set import ImageSet
from creditline.errors import CreditlineError, NumericsError
from creditline.features import CHUNK_ROWS, Features
from creditline.files import write_file

TABLE = "images.lance"
SHARDS = "shards"
THUMBNAIL = 128
KINDS = ("feature", "error")
FACTS = ("id", "name", "contributor", "text", "label", "columns")


def schema(models: int, dim: int, halves: bool) -> pa.Schema:
    """Columns of the table: facts, a picture, and per model a unit feature and its norm.

    With halves, the same of the feature's error (`GradientSource.extract`). Features are stored in
    half precision after division by their norm, so that neither overflow nor underflow depends on
    the objective's scale.
    """
    fields = [
        pa.field("row", pa.int64()),
        pa.field("id", pa.string()),
        pa.field("name", pa.string()),
        pa.field("contributor", pa.string()),
        pa.field("text", pa.string()),
        pa.field("label", pa.int64()),
        pa.field("columns", pa.string()),
        pa.field("picture", pa.binary()),
    ]
    for c in range(models):
        for name in KINDS[: 1 + halves]:
            fields.append(pa.field(f"{name}_{c}", pa.list_(pa.float16(), dim)))
            fields.append(pa.field(f"{name}_norm_{c}", pa.float64()))
    return pa.schema(fields)


class Store:
    """The table of one index folder.

    Args:
        folder: the index.
        models: models C per image.
        dim: feature dimension k.
        halves: whether errors are kept beside the features.
    """

    def __init__(self, folder: Path, models: int, dim: int, halves: bool) -> None:
        self.folder = folder
        self.models = models
        self.dim = dim
        self.halves = halves
        self._uri = str(folder / TABLE)
        self._dataset: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_dataset": None}

    # Writing

    def finished(self) -> set[int]:
        """Numbers of the shards that are declared written."""
        return {int(path.stem) for path in (self.folder / SHARDS).glob("*.json")}

    def write_shard(
        self, number: int, images: ImageSet, indices: Sequence[int], features: np.ndarray
    ) -> None:
        """Write one shard and declare it.

        Args:
            number: of the shard.
            images: the training set.
            indices: positions that form the shard.
            features: float32 of shape `(b, units, C, k)`: the features, and with halves their
                errors.

        Raises:
            NumericsError: if a feature is not finite; the image is named.
        """
        from lance.fragment import write_fragments

        table = self._rows(images, indices, features)
        fragments = write_fragments(table, self._uri, schema=table.schema, mode="create")
        declared = json.dumps([fragment.to_json() for fragment in fragments])
        path = self.folder / SHARDS / f"{number:06d}.json"
        write_file(path, lambda p: p.write_text(declared), overwrite=True)

    def commit(self, shards: int) -> None:
        """Make the declared shards one table, in shard order, and drop the declarations."""
        import lance
        from lance.fragment import FragmentMetadata

        paths = [self.folder / SHARDS / f"{i:06d}.json" for i in range(shards)]
        fragments = [
            FragmentMetadata.from_json(json.dumps(declared))
            for path in paths
            for declared in json.loads(path.read_text())
        ]
        operation = lance.LanceOperation.Overwrite(
            schema(self.models, self.dim, self.halves), fragments
        )
        lance.LanceDataset.commit(self._uri, operation)
        self._remove_orphans()

    def clear_shards(self) -> None:
        """Remove the declarations once the manifest says the index is complete."""
        shutil.rmtree(self.folder / SHARDS, ignore_errors=True)

    def _remove_orphans(self) -> None:
        """Delete data files that killed processes left behind."""
        used = {f.path for x in self._open().get_fragments() for f in x.metadata.files}
        for path in (self.folder / TABLE / "data").glob("*.lance"):
            if path.name not in used:
                path.unlink()

    def _rows(self, images: ImageSet, indices: Sequence[int], features: np.ndarray) -> pa.Table:
        columns: dict[str, Any] = {
            "row": np.asarray(indices, dtype=np.int64),
            "id": [images.ids[i] for i in indices],
            "name": [images.names[i] for i in indices],
            "contributor": [images.contributors[i] for i in indices],
            "text": [images.texts[i] for i in indices],
            "label": [images.labels[i] for i in indices],
            "columns": [
                json.dumps({key: values[i] for key, values in images.columns.items()})
                for i in indices
            ],
            "picture": [png(images.image(i)) for i in indices],
        }
        names = [images.names[i] for i in indices]
        for c in range(self.models):
            for unit, kind in enumerate(KINDS[: 1 + self.halves]):
                rows, norm = normalise(features[:, unit, c], names)
                flat = pa.array(rows.reshape(-1))
                columns[f"{kind}_{c}"] = pa.FixedSizeListArray.from_arrays(flat, self.dim)
                columns[f"{kind}_norm_{c}"] = norm
        return pa.table(columns, schema=schema(self.models, self.dim, self.halves))

    # Reading

    def _open(self) -> Any:
        if self._dataset is None:
            import lance

            try:
                self._dataset = lance.dataset(self._uri)
            except (ValueError, OSError) as error:
                raise CreditlineError(
                    f"The image table of index {self.folder} cannot be opened ({error}). "
                    "Restore it from a backup or build the index again."
                ) from error
        return self._dataset

    def __len__(self) -> int:
        return self._open().count_rows()

    def facts(self) -> dict[str, list]:
        """Every column but pictures and features, in row order."""
        return self._open().to_table(columns=list(FACTS)).to_pydict()

    def pictures(self, rows: Sequence[int]) -> list[bytes]:
        """PNG bytes of some training images, at most 128 px on a side."""
        if not len(rows):
            return []
        return self._open().take(list(rows), columns=["picture"]).column("picture").to_pylist()

    def digest(self) -> str:
        """Hash of every column in row order, independent of files, fragments and versions."""
        digest = hashlib.sha256()
        for batch in self._open().to_batches(batch_size=1):
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                digest.update(f"{name}={column.to_pylist()!r};".encode())
        return digest.hexdigest()

    def chunks(
        self, model: int, kind: Literal["feature", "error"] = "feature"
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Features of one model, or their errors: float64, about 1,024 rows at a time, in order."""
        names = [f"{kind}_{model}", f"{kind}_norm_{model}"]
        start, held, count = 0, [], 0
        batches = self._open().to_batches(columns=names, batch_size=CHUNK_ROWS)
        for batch in batches:
            unit = batch.column(0).values.to_numpy().reshape(-1, self.dim)
            norm = batch.column(1).to_numpy()
            held.append(unit.astype(np.float64) * norm[:, None])
            count += len(norm)
            if count >= CHUNK_ROWS:
                yield start, np.concatenate(held)
                start, held, count = start + count, [], 0
        if held:
            yield start, np.concatenate(held)


class StoredErrors:
    """The errors of a store's features, as a feature table (see `Features`)."""

    errors: Features | None = None

    def __init__(self, store: Store, n: int) -> None:
        self.store, self.n = store, n
        self.models, self.dim = store.models, store.dim
        self.learning_rates: tuple[float | None, ...] = (None,) * store.models

    def chunks(self, model: int) -> Iterator[tuple[int, np.ndarray]]:
        """Errors of one model's features, chunk by chunk."""
        return self.store.chunks(model, "error")


def normalise(features: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows in half precision and their norms in double; zero rows stay zero.

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
    return unit.astype(np.float16), norm


def png(picture: Image.Image, side: int = THUMBNAIL) -> bytes:
    """PNG bytes of a picture, reduced to at most `side` pixels."""
    if max(picture.size) > side:
        picture = picture.copy()
        picture.thumbnail((side, side))
    buffer = BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
