"""Build an index: shards of images through the executor, resumable at any point."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from creditline.claim import claim
from creditline.data.image_set import ImageSet
from creditline.diffusion.denoiser import Denoiser
from creditline.errors import CreditlineError
from creditline.features.extractor import FeatureExtractor
from creditline.indexing.projection import CURVATURE, fit_projection
from creditline.indexing.store import SHARDS, Store
from creditline.indexing.subset_file import write_subsets
from creditline.indexing.table_schema import TableSchema
from creditline.manifest import Manifest
from creditline.methods.subset_losses import SubsetLosses
from creditline.remedy import remedy
from creditline.runtime import Runtime
from creditline.runtime.allocator import keep_freed_memory
from creditline.runtime.devices import place
from creditline.settings import require

ENCODED = "encoded"
TEMPORARY = (SHARDS, ENCODED, CURVATURE)
"""Folders of an index that only its build needs."""
ROWS_ON_CPU, ROWS_ELSEWHERE, ROWS_OF_PIXELS = 32, 128, 512
"""Images per shard: at most these are extracted again after an interruption. Pixels are extracted
in no time, and flushing many small shards to the disk takes some."""
SHARD_BYTES = 2**26
"""Most bytes of the pixels of a shard, in float32."""
MARGIN = 1.2
BYTES_PER_IMAGE = 1500  # thumbnail and facts, about


@dataclass(frozen=True)
class Shard:
    """Consecutive images that form one task."""

    number: int
    start: int
    stop: int


@dataclass(frozen=True)
class ShardJob:
    """What all shards share.

    Attributes:
        extractor: extracts features.
        images: the training images.
        store: where shards are written.
        first: key of the first image in the table.
    """

    extractor: FeatureExtractor
    images: ImageSet
    store: Store
    first: int

    def to_device(self, device: str) -> ShardJob:
        """Return the job with models on a device."""
        return replace(self, extractor=place(self.extractor, device))


def default_shard_rows(extractor: FeatureExtractor, models: Sequence[Denoiser]) -> int:
    """Images per shard by default; passes on a GPU need more of them."""
    if extractor.kind == "pixels":
        return max(1, min(ROWS_OF_PIXELS, SHARD_BYTES // (4 * extractor.dim)))
    on_cpu = all(model.device.type == "cpu" for model in models)
    return ROWS_ON_CPU if on_cpu else ROWS_ELSEWHERE


def build(
    folder: Path,
    extractor: FeatureExtractor,
    images: ImageSet,
    request: Mapping[str, Any],
    facts: Mapping[str, Any],
    runtime: Runtime,
    shard_rows: int,
    overwrite: bool = False,
    encoded: Path | None = None,
    subsets: SubsetLosses | None = None,
    curvature: Path | None = None,
) -> None:
    """Extract the features of every image into `folder`; continue where a former call stopped.

    Args:
        folder: the index.
        extractor: extracts features.
        images: training images.
        request: everything that decides the contents.
        facts: further facts for the manifest.
        runtime: where and how the work runs.
        shard_rows: images per shard; what a crash can lose per worker.
        overwrite: replace an index that was built from another request.
        encoded: where latents and text embeddings are kept; by default in `folder`, and only until
            the index is complete.
        subsets: losses of retrained models, for subset methods.
        curvature: where the curvature of preconditioners is kept; by default in `folder`, and only
            until the index is complete.

    Raises:
        IndexMismatchError: if `folder` holds an index of another request, or `encoded` what
            another autoencoder made.
        CreditlineError: if `folder` exists and is no index, or the disk is full.
    """
    require(shard_rows >= 1, "shard_rows must be at least 1", shard_rows, "Try 32.")
    with _caching(extractor, encoded):
        extractor.check(images)
    manifest = Manifest("index", request, facts)
    with claim(manifest, folder, overwrite, temporary=TEMPORARY) as is_complete:
        if is_complete:
            return
        with _caching(extractor, encoded or folder / ENCODED):
            place = curvature or folder / CURVATURE
            notes = fit_projection(folder, extractor, images, runtime, place)
        if subsets is not None:
            write_subsets(folder, subsets)
        schema = TableSchema(
            extractor.models,
            extractor.dim,
            extractor.has_halves,
            images.masks is not None,
            extractor.feature_sets,
            extractor.bits,
            images.captions is not None,
        )
        store = Store(folder, schema)
        shards = extract(store, extractor, images, runtime, shard_rows, encoded=encoded)
        facts = {**facts, **notes, **store.commit(shards)}
        replace(manifest, facts=facts, status="complete").write(folder)
        clear(store)


def clear(store: Store) -> None:
    """Remove files that only building needs, once the manifest says the index is complete."""
    store.clear_shards()
    for name in TEMPORARY:
        shutil.rmtree(store.folder / name, ignore_errors=True)


def extract(
    store: Store,
    extractor: FeatureExtractor,
    images: ImageSet,
    runtime: Runtime,
    shard_rows: int,
    first: int = 0,
    encoded: Path | None = None,
) -> int:
    """Write the features of images as shards that are not written yet; returns the number of all.

    Args:
        store: declares the shards.
        extractor: extracts features.
        images: to extract features of.
        runtime: where and how the work runs.
        shard_rows: images per shard.
        first: key of the first image in the table.
        encoded: where latents and text embeddings are kept; beside the table by default, until
            `clear`.

    Raises:
        CreditlineError: if the disk is full.
    """
    starts = range(0, len(images), shard_rows)
    shards = [Shard(i, s, min(s + shard_rows, len(images))) for i, s in enumerate(starts)]
    finished = store.finished()
    todo = [shard for shard in shards if shard.number not in finished]
    done = sum(shard.stop - shard.start for shard in shards if shard.number in finished)
    _require_space(store, len(images) - done)
    caching = _caching(extractor, encoded or store.folder / ENCODED)
    try:
        bar = runtime.progress("index", len(images), "image", done=done)
        with caching, keep_freed_memory(), bar:  # from shard to shard
            job = ShardJob(extractor, images, store, first)
            for shard, _ in runtime.map(_extract_shard, job, todo):
                bar.advance(shard.stop - shard.start)
    except OSError as error:
        raise CreditlineError(
            f"Writing the index stopped: {error}. {len(store.finished())} of {len(shards)} shards "
            f"are safe in {store.folder}. {remedy(error)} and run the same command again."
        ) from error
    return len(shards)


def _caching(extractor: FeatureExtractor, folder: Path | None) -> AbstractContextManager[None]:
    """Keep latents and text embeddings in a folder meanwhile."""
    return nullcontext() if folder is None else extractor.caching(folder)


def _require_space(store: Store, images: int) -> None:
    needed = int(images * (store.schema.feature_bytes + BYTES_PER_IMAGE) * MARGIN)
    free = shutil.disk_usage(store.folder).free
    if needed > free:
        raise CreditlineError(
            f"The index needs about {needed / 1e9:.2f} GB and {store.folder} has "
            f"{free / 1e9:.2f} GB free. Use a smaller --dim or fewer --bits, or an --out with more "
            "space."
        )


def _extract_shard(job: ShardJob, shard: Shard) -> None:
    indices = range(shard.start, shard.stop)
    extractor = job.extractor
    features = extractor.extract(job.images, indices, reduction=extractor.reduction)
    job.store.write_shard(shard.number, job.images, indices, features, job.first)
