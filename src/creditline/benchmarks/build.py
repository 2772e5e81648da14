"""Build a benchmark: models, generated images and ground truths, resumable throughout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from creditline.benchmarks.benchmark import Benchmark
from creditline.data.image_set import ImageSet
from creditline.data.load import load_images
from creditline.data.selection import SelectionSpec, sample_images
from creditline.diffusion.generation import GenerateConfig, generate
from creditline.diffusion.train import train
from creditline.errors import DataError
from creditline.evaluation.truth.ground_truth import GroundTruth
from creditline.evaluation.truth.retraining import retrain
from creditline.manifest import NAME as MANIFEST
from creditline.runtime import Runtime

VALIDATION, GENERATED = "validation", "generated"
STEPS = 50
BATCH = 64
"""Of generated images, which depend on it by float rounding."""


def build(
    benchmark: Benchmark,
    out: str | Path,
    *,
    data: Any = None,
    limit_tasks: int | None = None,
    runtime: Runtime | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, GroundTruth]:
    """Train, generate and retrain everything that the benchmark ships.

    Interrupt it at any time; the same call continues. The folder holds `base/` and `full/`
    (training runs), `generated/` (images with their sampling runs) and a ground truth for each of
    `Benchmark.retrainings`.

    Args:
        benchmark: the benchmark to build.
        out: folder to write.
        data: the images, where the benchmark has no source.
        limit_tasks: largest number of models to retrain in this call.
        runtime: where and how models are trained.
        say: receives each line of progress.

    Returns:
        Ground truths by folder, as far as they are finished.

    Raises:
        DataError: if the images are missing or too few.
        CreditlineError: what training and retraining raise.
    """
    folder, runtime = Path(out), runtime or Runtime()
    sets = image_sets(benchmark, data)
    base: Path | None = None
    if benchmark.base is not None:
        base = folder / "base"
        say(f"base: {len(sets['base'])} images, {benchmark.base.steps:,} steps")
        train(sets["base"], base, benchmark.base, runtime=replace(runtime, threads=1))
    say(f"full model: {len(sets['train'])} images, {benchmark.config.steps:,} steps")
    full = full_model(benchmark, sets["train"], folder / "full", base, runtime=runtime)
    say(f"generate {benchmark.generated} images")
    images = generate(
        full,
        benchmark.generated,
        folder / GENERATED,
        GenerateConfig(steps=STEPS, trajectory=True),
        batch_size=BATCH,
        runtime=runtime,
    )
    truths: dict[str, GroundTruth] = {}
    for name, settings in benchmark.retrainings.items():
        if limit_tasks == 0:
            break
        say(
            f"{name}: retrain on {settings.subsets.subsets} subsets, {settings.seeds} seeds each, "
            f"{benchmark.subset_config.steps:,} steps"
        )
        before = count_finished(folder / name)
        truths[name] = retrain(
            sets["train"],
            [(VALIDATION, sets["validation"]), (GENERATED, images)],
            folder / name,
            config=benchmark.subset_config,
            base=base,
            settings=settings,
            runtime=runtime,
            limit_tasks=limit_tasks,
        )
        if limit_tasks is not None:
            limit_tasks -= count_finished(folder / name) - before
    return truths


def count_finished(folder: Path) -> int:
    """Count the models of a ground truth that are trained."""
    if not (folder / MANIFEST).is_file():
        return 0
    return int(GroundTruth.read(folder).finished.sum())


def full_model(
    benchmark: Benchmark,
    images: ImageSet,
    out: str | Path,
    base: Path | None,
    *,
    seed: int | None = None,
    runtime: Runtime | None = None,
) -> Path:
    """Train on all training images; another seed gives another model of an ensemble."""
    config = benchmark.config
    checkpoints = replace(
        config, checkpoint_every=config.steps // 4, seed=config.seed if seed is None else seed
    )
    one_thread = replace(runtime or Runtime(), threads=1)
    return train(images, out, checkpoints, base=base, runtime=one_thread)


def image_sets(benchmark: Benchmark, data: Any = None) -> dict[str, ImageSet]:
    """Draw disjoint sets of images by name: train, validation and, with a base, base.

    Raises:
        DataError: if the benchmark has no source and no images are given, or a group has too few
            images.
    """
    images = source_images(benchmark, data)
    sets = {
        name: sample_images(
            images,
            SelectionSpec(
                sample=part["count"], sample_each=benchmark.each, sample_skip=part["skip"]
            ),
        )
        for name, part in benchmark.draws().items()
    }
    groups = len(set(getattr(images, f"{benchmark.each}s")))
    for name, each in (("train", benchmark.train), ("validation", benchmark.validation)):
        if len(sets[name]) != each * groups:
            raise DataError(
                f"{benchmark.name} draws {each} {name} images of each {benchmark.each}; the "
                f"{len(images)} images of {images.source} yield {len(sets[name])} instead of "
                f"{each * groups}. Give {benchmark.needed_data or 'all of them'}."
            )
    return sets


def source_images(benchmark: Benchmark, data: Any = None) -> ImageSet:
    """Load all images that a benchmark draws from.

    Raises:
        DataError: if the benchmark has no source and no images are given.
    """
    source = benchmark.source if data is None else data
    if source is None:
        raise DataError(f"{benchmark.name} needs images: --data with {benchmark.needed_data}.")
    return load_images(source, benchmark.spec, metadata=benchmark.metadata)
