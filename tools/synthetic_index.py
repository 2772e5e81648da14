"""Indexes of synthetic features, and queries to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tools.synthetic import ImageFiles

from creditline.data.image_set import ImageSet
from creditline.features.extractor import FeatureExtractor
from creditline.fingerprint import of_bytes
from creditline.indexing.build import build
from creditline.indexing.index import Index
from creditline.indexing.queries import Queries, QueryFeatures
from creditline.manifest import Manifest
from creditline.methods.attributor import Attributor
from creditline.methods.trak import TRAK
from creditline.runtime import Runtime
from creditline.settings import describe, override, to_dict

SHARD = 8192


def synthetic_index(
    folder: Path,
    n: int,
    source: FeatureExtractor,
    denoiser: Any = None,
    method: Attributor | None = None,
    shard: int = SHARD,
) -> Index:
    """An index of synthetic features, built where it is not yet.

    Args:
        folder: the index.
        n: rows.
        source: of the features.
        denoiser: the model whose features they stand for.
        method: of the index; TRAK by default.
        shard: rows of a shard.
    """
    size = 16 if denoiser else 4
    weights = [{"fingerprint": denoiser.fingerprint, "learning_rate": None}] if denoiser else []
    method = method or override(TRAK(), {"dim": source.dim})
    images = ImageFiles(0, n)
    request = {
        "method": {"name": method.name, "settings": describe(method)},
        "images": {
            "fingerprint": images.fingerprint,
            "n": n,
            "shape": [3, size, size],
            "spec": to_dict(images.spec),
            "described": of_bytes(b""),
        },
        "models": weights,
        "features": {
            "kind": "gradients",
            "models": 1,
            "dim": source.dim,
            "halves": source.has_halves,
            "sets": dict(source.feature_sets),
            "bits": list(source.bits),
            "shard_rows": shard,
        },
    }
    facts: dict[str, Any] = {"blocks": []}
    facts |= {"model_sources": [], "data_source": "synthetic", "duplicates": [], "skipped": []}
    if not _is_changed(folder):
        build(folder, source, images, request, facts, Runtime(), shard)  # type: ignore[arg-type]
    return Index(folder, models=[denoiser] if denoiser else None)


def synthetic_queries(index: Index, source: Any, m: int) -> QueryFeatures:
    """Rows like those of an index, but none of them.

    Args:
        index: that is searched.
        source: of its features, with a method `rows`.
        m: queries.
    """
    values = source.rows(2**40, m)[:, None, None]
    images = ImageSet.from_images(np.zeros((m, 4, 4, 3), np.uint8))
    queries = Queries(images, (None,) * m, ({},) * m)
    return QueryFeatures(queries, values, None, index._engine.extractor.recipe(index.method))


def _is_changed(folder: Path) -> bool:
    """Whether images came or went, so that a build would refuse what is there."""
    manifest = (folder / "manifest.json").is_file() and Manifest.read(folder, "index")
    return bool(manifest) and "changes" in manifest.facts
