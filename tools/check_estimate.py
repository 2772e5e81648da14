"""Compare the cost of a gradient that `creditline doctor --shapes` estimates with its measurement.

    python -m tools.check_estimate

On networks of moderate size with random weights and an adapter of rank 128, one thread: estimated
over measured CPU time per evaluation. The machine may do other work.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import torch
from tests.tiny_pipelines import MODERATE, random_images
from tools.model_checks import CASES, Case

from creditline.doctor.estimate import estimate
from creditline.features.gradients import GradientExtractor
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.spec import FeatureSpec

MAKERS = ("sd", "sdxl", "dit", "sd3")
RANK, T, IMAGES, ROUNDS = 128, 10, 6, 3


def measure_seconds(case: Case, folder: Path) -> float:
    """Measure CPU seconds per evaluation: the median of some rounds after a first one."""
    model = case.load(folder, True, MODERATE, RANK)
    images = random_images(IMAGES, model.image_shape[1])
    source = GradientExtractor([model], FeatureSpec(plan=NoisePlan(timesteps=T)))
    seconds = []
    with source.caching(folder / "encoded"):
        for _ in range(1 + ROUNDS):
            start = time.process_time()
            source.extract(images, range(IMAGES), reduction="halves")
            seconds.append(time.process_time() - start)
    return statistics.median(seconds[1:]) / (IMAGES * T)


def main() -> None:
    torch.set_num_threads(1)
    print("| class | measured, ms per evaluation | estimated over measured |")
    print("| --- | --: | --: |")
    for case in CASES:
        if case.maker in MAKERS and case.bare is None:
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                actual = measure_seconds(case, folder)
                expected = estimate(folder / "pipeline", lora_rank=RANK, timesteps=T).seconds
            print(f"| {case.title} | {1e3 * actual:.1f} | {expected / actual:.2f} |", flush=True)


if __name__ == "__main__":
    main()
