"""Sampling runs of the generated queries, which do not ship."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from creditline.benchmarks.build import BATCH, GENERATED, STEPS
from creditline.benchmarks.shipped_benchmark import ShippedBenchmark
from creditline.data.load import load_images
from creditline.diffusion.generation import GenerateConfig, generate
from creditline.evaluation.truth.ground_truth import GroundTruth
from creditline.runtime import Runtime

ROUNDING = 1
"""Levels of 255 between images of the same sampling run on two machines."""


def sampling_runs(
    case: ShippedBenchmark, folder: Path, runtime: Runtime, say: Callable[[str], None]
) -> tuple[Path, GroundTruth] | None:
    """Generate the generated queries again, with their sampling runs.

    Another processor rounds differently, so that a pixel may differ by one level. Where images
    differ by more, the ground truth is not about them.

    Args:
        case: the benchmark's files.
        folder: where the sampling runs are written.
        runtime: where and how the model runs.
        say: receives the reason where there is no result.

    Returns:
        Folder of the sampling runs and the ground truth of these queries, or None where this
        machine generates other images.
    """
    again = generate(
        case.model,
        case.benchmark.generated,
        folder,
        GenerateConfig(steps=STEPS, trajectory=True),
        batch_size=BATCH,
        runtime=runtime,
    )
    expected, images = load_images(case.generated), load_images(again)
    levels = np.abs(images.array().astype(int) - expected.array()).max()
    if levels > ROUNDING:
        say(
            "methods on sampling runs are left out: this machine generates other images from the "
            f"same seeds, up to {levels} levels apart"
        )
        return None
    return again, replace(case.truth().of_folder(GENERATED), query_ids=images.ids)
