"""Disk: the bytes of an index, part by part, as it is written."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from creditline.data.image_set import ImageSet
from creditline.features.gradients import GradientExtractor
from creditline.indexing.store import TABLE, Store
from creditline.indexing.table_schema import FACTS, TableSchema
from creditline.indexing.thumbnail import compact
from creditline.methods.attributor import Attributor

LOOKED_AT = 256
"""Pictures whose size is measured; a picture takes no time, and they differ a lot."""
NORM_BYTES = KEY_BYTES = 8
MANIFEST_BYTES = 5000
"""Of the index and of the table, about; with what either says of every shard."""
DECLARED_BYTES = 400
HEADER_BYTES = 128
"""Of an array in a file: numpy's header, or about what safetensors says of it."""


@dataclass(frozen=True)
class DiskEstimate:
    """What an index of `n` images takes.

    Attributes:
        image_bytes: of the table per image: features, norms, picture and facts.
        build_bytes: of the folder when it is built.
        trace_bytes: of what the first trace adds: curvature and preconditioned features.
        write_seconds: of CPU per image, for picture and table.
    """

    image_bytes: float
    build_bytes: float
    trace_bytes: float
    write_seconds: float


def disk_of(
    method: Attributor, source: GradientExtractor, images: ImageSet, n: int, shard_rows: int
) -> DiskEstimate:
    """Reckon the disk that an index takes.

    Args:
        method: decides what the first trace adds.
        source: decides the features; what its projection learns is learnt.
        images: pictures like those of the index.
        n: images of the index.
        shard_rows: images per shard.
    """
    rows = np.unique(np.linspace(0, len(images) - 1, min(LOOKED_AT, len(images))).astype(np.int64))
    facts = float(np.mean([_row_bytes(images, int(i)) for i in rows]))
    features = source.models * (1 + source.has_halves) * (2 * source.dim + NORM_BYTES)
    shards = -(-n // shard_rows)
    file_bytes, seconds = _shard(source, images, min(shard_rows, n))
    table = n * (features + facts) + shards * (file_bytes + DECLARED_BYTES)
    learnt = sum(HEADER_BYTES + array.nbytes for array in source.state().values())
    return DiskEstimate(
        image_bytes=table / n,
        build_bytes=table + MANIFEST_BYTES + learnt,
        trace_bytes=_trace_bytes(method, source, n),
        write_seconds=seconds,
    )


def fits(source: GradientExtractor) -> int:
    """How many times a method is fitted under each model: to the features, and to either half."""
    return 1 + 2 * source.has_halves


def _trace_bytes(method: Attributor, source: GradientExtractor, n: int) -> float:
    """What is kept in `fitted/`: see `indexing.fitted`."""
    each = source.models * fits(source)
    rows = each * n * (4 * source.dim + 8)
    numbers = (1 + source.has_halves) * (HEADER_BYTES + 8 * n)  # self-influence, scale of errors
    if not method.capabilities.damped:
        return rows + numbers
    s = min(n, source.dim)
    return rows + numbers + each * (8 * (s * s + s + source.dim) + 3 * HEADER_BYTES)


def _shard(source: GradientExtractor, images: ImageSet, b: int) -> tuple[float, float]:
    """What a shard's file takes besides its rows, and seconds of CPU per row, from one of them."""
    chosen = images.subset([i % len(images) for i in range(b)])
    shape = (b, 1 + source.has_halves, source.models, source.dim)
    features = np.random.default_rng(0).standard_normal(shape, np.float32)
    bare = sum(_row_bytes(chosen, i) for i in range(b))
    bare += b * source.models * (1 + source.has_halves) * (2 * source.dim + NORM_BYTES)
    with tempfile.TemporaryDirectory(prefix="creditline-") as folder:
        store = Store(Path(folder), TableSchema(source.models, source.dim, source.has_halves))
        store.write_shard(0, chosen, range(b), features)  # the first one imports a library
        before = time.process_time()
        store.write_shard(1, chosen, range(b), features)
        seconds = time.process_time() - before
        files = list((Path(folder) / TABLE / "data").glob("*.lance"))
        written = float(np.mean([file.stat().st_size for file in files]))
    return max(0.0, written - bare), seconds / b


def _row_bytes(images: ImageSet, i: int) -> int:
    """Picture and facts of one row of the store."""
    facts = [getattr(images, f"{name}s")[i] for name in FACTS if name != "columns"]
    columns = json.dumps({key: values[i] for key, values in images.columns.items()})
    text = sum(len(str(fact).encode()) for fact in facts if fact is not None)
    return KEY_BYTES + len(compact(images.image(i))) + text + len(columns.encode())
