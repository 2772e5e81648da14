"""Disk space of an index, part by part."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from creditline.data.captions import write_captions
from creditline.data.image_set import ImageSet
from creditline.features.extractor import FeatureExtractor
from creditline.features.gradients import GradientExtractor
from creditline.indexing.metadata_columns import write_columns
from creditline.indexing.store import Store
from creditline.indexing.table_schema import FACTS, TableSchema
from creditline.indexing.thumbnail import compact
from creditline.leftovers import scratch_folder
from creditline.methods.attributor import Attributor

MEASURED_IMAGES = 256
"""Images whose thumbnail is measured; their sizes differ a lot."""
KEY_BYTES = 8
MANIFEST_BYTES = 5000
"""Approximate size of the manifests of index and table, and of their entry for each shard."""
DECLARED_BYTES = 400
HEADER_BYTES = 128
"""Header of an array in a file of numpy, and about that of safetensors."""


@dataclass(frozen=True)
class DiskEstimate:
    """Disk space of an index of `n` images.

    Attributes:
        image_bytes: table per image: features, norms, thumbnail and facts.
        build_bytes: folder of the built index.
        trace_bytes: added by the first trace: curvature and train-side factors.
        write_seconds: CPU seconds per image for thumbnail and table.
    """

    image_bytes: float
    build_bytes: float
    trace_bytes: float
    write_seconds: float


def estimate_disk(
    method: Attributor, source: GradientExtractor, images: ImageSet, n: int, shard_rows: int
) -> DiskEstimate:
    """Estimate the disk space of an index.

    Args:
        method: decides what the first trace adds.
        source: decides the features; its projection is fitted.
        images: images like those of the index.
        n: number of images of the index.
        shard_rows: images per shard.
    """
    rows = np.unique(
        np.linspace(0, len(images) - 1, min(MEASURED_IMAGES, len(images))).astype(np.int64)
    )
    facts = float(np.mean([_row_bytes(images, int(i)) for i in rows]))
    features = table_schema(source).feature_bytes
    shards = -(-n // shard_rows)
    file_bytes, seconds = _shard(source, images, min(shard_rows, n))
    table = n * (features + facts) + shards * (file_bytes + DECLARED_BYTES)
    projection_state = sum(HEADER_BYTES + array.nbytes for array in source.state().values())
    return DiskEstimate(
        image_bytes=table / n,
        build_bytes=table + MANIFEST_BYTES + projection_state,
        trace_bytes=_trace_bytes(method, source, n),
        write_seconds=seconds,
    )


def table_schema(source: FeatureExtractor) -> TableSchema:
    """The table of an index of these features."""
    return TableSchema(source.models, source.dim, source.has_halves, bits=source.bits)


def count_fits(source: GradientExtractor) -> int:
    """Count the fits of a method under each model: to the features, and to either half."""
    return 1 + 2 * source.has_halves


def number_bytes(source: FeatureExtractor, n: int) -> float:
    """What a trace keeps of every image once for all terms: self-influence, scale of errors."""
    return (1 + source.has_halves) * (HEADER_BYTES + 8 * n)


def _trace_bytes(method: Attributor, source: GradientExtractor, n: int) -> float:
    """What is kept in `fitted/`: see `indexing.fitted`."""
    each = source.models * count_fits(source)
    # Codes of few bits are multiplied as they are.
    rows = each * n * (4 * source.dim + 8) if source.bits == (16,) else 0
    numbers = number_bytes(source, n)
    if not method.capabilities.damped:
        return rows + numbers
    s = min(n, source.dim)
    return rows + numbers + each * (8 * (s * s + s + source.dim) + 3 * HEADER_BYTES)


def _shard(source: GradientExtractor, images: ImageSet, b: int) -> tuple[float, float]:
    """Measure the overhead of a shard's file, and CPU seconds per row."""
    rows = images.subset([i % len(images) for i in range(b)])
    shape = (b, 1 + source.has_halves, source.models, source.dim)
    features = np.random.default_rng(0).standard_normal(shape, np.float32)
    bare = b * table_schema(source).feature_bytes
    bare += sum(_row_bytes(rows, i) for i in range(b))
    with scratch_folder() as folder:
        store = Store(Path(folder), table_schema(source))
        store.write_shard(0, rows, range(b), features)  # the first one imports a library
        before = time.process_time()
        store.write_shard(1, rows, range(b), features)
        seconds = time.process_time() - before
        files = list((store.version.path / "data").glob("*.lance"))
        written = float(np.mean([file.stat().st_size for file in files]))
    return max(0.0, written - bare), seconds / b


def _row_bytes(images: ImageSet, i: int) -> int:
    """Measure thumbnail and facts of one row of the store."""
    facts = [getattr(images, f"{name}s")[i] for name in FACTS if name != "columns"]
    columns = write_columns(images.columns, i)
    facts += [] if images.captions is None else [write_captions(images.captions[i])]
    text = sum(len(str(fact).encode()) for fact in facts if fact is not None)
    return KEY_BYTES + len(compact(images.image(i))) + text + len(columns.encode())
