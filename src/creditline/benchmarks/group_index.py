"""The index of a group of methods, and what its extraction costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from creditline.api import index as build_index
from creditline.benchmarks.build import full_model
from creditline.benchmarks.groups import MethodGroup
from creditline.benchmarks.shipped_benchmark import ShippedBenchmark
from creditline.data.image_set import ImageSet
from creditline.diffusion.load import load_model
from creditline.features.extractor import FeatureExtractor
from creditline.indexing.extractors import make_extractor
from creditline.indexing.index import Index
from creditline.indexing.projection import load_projection
from creditline.runtime import Runtime

TIMED_IMAGES = 8


def build_group_index(
    case: ShippedBenchmark,
    group: MethodGroup,
    images: ImageSet,
    folder: Path,
    *,
    runtime: Runtime,
    say: Callable[[str], None] = print,
) -> tuple[Index, float | None]:
    """Index the training images for a group of methods.

    Args:
        case: the benchmark's files.
        group: the methods that share the index.
        images: training images.
        folder: folder of all indexes and of the ensemble's further models.
        runtime: where and how models run.
        say: receives each line of text for the reader.

    Returns:
        The index, and the CPU seconds of one image's gradient feature on one thread; None for other
        methods.
    """
    paths = _models(case, group, images, folder, runtime, say)
    models = [load_model(str(path), device=runtime.main_device) for path in paths]
    method = group.index_method
    extractor = make_extractor(method, models, images.shape)
    index = build_index(
        models or None,
        images,
        method=method,
        out=folder / f"index-{group.key}",
        curvature=folder / "curvature" if extractor.has_curvature else None,
        runtime=runtime,
    )
    has_gradients = method.capabilities.features == "gradients"
    return index, _image_seconds(index, extractor, images) if has_gradients else None


def _models(
    case: ShippedBenchmark,
    group: MethodGroup,
    images: ImageSet,
    folder: Path,
    runtime: Runtime,
    say: Callable[[str], None],
) -> Sequence[Path]:
    """Locate the indexed models: none, checkpoints, the final model, or an ensemble."""
    if group.index_method.capabilities.models == "none":
        return []
    if group.checkpoints:
        return case.checkpoints
    paths, first_seed = [case.model], case.benchmark.config.seed
    for seed in range(first_seed + 1, first_seed + group.models):
        steps = case.benchmark.config.steps
        say(f"model {len(paths) + 1} of {group.models}: {steps:,} steps")
        run = full_model(
            case.benchmark,
            images,
            folder / "ensemble" / f"seed-{seed}",
            case.base,
            seed=seed,
            runtime=runtime,
        )
        paths.append(run / "model")
    return paths


def _image_seconds(index: Index, source: FeatureExtractor, images: ImageSet) -> float:
    """Measure CPU seconds of one image's feature, without the halves of its noise."""
    load_projection(index.path, source, index.manifest.facts["projection"])
    source.extract(images, range(1))  # the first image pays for caches that later ones share
    before = time.process_time()
    source.extract(images, range(TIMED_IMAGES))
    return (time.process_time() - before) / TIMED_IMAGES
