"""The index of a group of methods, and what its extraction costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from creditline import methods
from creditline.api import index as build_index
from creditline.benchmarks.build import full_model
from creditline.benchmarks.groups import MethodGroup
from creditline.benchmarks.shipped import ShippedBenchmark
from creditline.data.image_set import ImageSet
from creditline.diffusion.denoiser import Denoiser
from creditline.diffusion.load import load_model
from creditline.features.gradients import GradientExtractor
from creditline.indexing.index import Index
from creditline.runtime import Runtime
from creditline.settings import override

TIMED_IMAGES = 8


def build_group_index(
    shipped: ShippedBenchmark,
    group: MethodGroup,
    images: ImageSet,
    folder: Path,
    *,
    runtime: Runtime,
    say: Callable[[str], None] = print,
) -> tuple[Index, float]:
    """Index the training images for a group of methods.

    Args:
        shipped: the benchmark's files.
        group: which methods, and under which models.
        images: training images.
        folder: folder of all indexes and of the ensemble's further models.
        runtime: where and how models run.
        say: receives each line of text for the reader.

    Returns:
        The index, and the CPU seconds that the feature of one image takes on one thread.
    """
    paths = _models(shipped, group, images, folder, runtime, say)
    models = [load_model(str(path), device=runtime.main_device) for path in paths]
    method: Any = override(methods.get(group.methods[0])(), {"timesteps": group.timesteps})
    index = build_index(
        models,
        images,
        method=method,
        out=folder / f"index-{group.key}",
        runtime=runtime,
    )
    return index, _image_seconds(models, method, images)


def _models(
    shipped: ShippedBenchmark,
    group: MethodGroup,
    images: ImageSet,
    folder: Path,
    runtime: Runtime,
    say: Callable[[str], None],
) -> Sequence[Path]:
    """Checkpoints, the model, or the model and further ones."""
    if group.checkpoints:
        return shipped.checkpoints
    paths, first_seed = [shipped.model], shipped.benchmark.config.seed
    for seed in range(first_seed + 1, first_seed + group.models):
        steps = shipped.benchmark.config.steps
        say(f"model {len(paths) + 1} of {group.models}: {steps:,} steps")
        run = full_model(
            shipped.benchmark,
            images,
            folder / "ensemble" / f"seed-{seed}",
            shipped.base,
            seed=seed,
            runtime=runtime,
        )
        paths.append(run / "model")
    return paths


def _image_seconds(models: Sequence[Denoiser], method: Any, images: ImageSet) -> float:
    """CPU seconds of one image's feature, without the halves of its noise."""
    source = GradientExtractor(models, method.features)
    source.extract(images, range(1))  # the first image pays for caches that later ones share
    before = time.process_time()
    source.extract(images, range(TIMED_IMAGES))
    return (time.process_time() - before) / TIMED_IMAGES
