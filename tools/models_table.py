"""Check every class of models on small instances, with and without adapter (`make models-table`).

The checks are those of `tools/model_checks.py`. The cost of the engine is measured on larger
instances, as CPU time over that of a plain forward and backward pass to the same parameters: one
thread, interleaved rounds, medians.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterable
from dataclasses import astuple
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tests.tiny_pipelines import MODERATE, random_images
from tools.bench import plain_step
from tools.clock import seconds
from tools.model_checks import CASES, Case, examine

from creditline.features.gradients import GradientExtractor
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.parameters import enable_gradients
from creditline.gradients.spec import FeatureSpec

T = 10
ANSWERS = ("trains", "generates", "gradient", "index, trace", "doctor")
RANK = 128
"""Rank of the adapters whose cost is measured."""


def cost(
    case: Case, lora: bool, folder: Path, n: int, rounds: int, device: str
) -> tuple[float, float]:
    """Measure seconds per evaluation of a plain pass and of features with their errors.

    Latents and prompts are encoded before, as an index does.

    Args:
        case: the model, on a moderate instance.
        lora: load an adapter of rank 128.
        folder: receives its files.
        n: number of images.
        rounds: number of measurements.
        device: device of the measurement.
    """
    model = case.load(folder, lora, MODERATE, RANK, device)
    images = random_images(n, model.image_shape[1])
    source = GradientExtractor([model], FeatureSpec(plan=NoisePlan(timesteps=T)))
    trained = enable_gradients(model.module, source.layers)
    with source.caching(folder / "encoded"), trained as layers:
        plain = plain_step(model, images, T, [p for layer in layers for p in layer])
        features = partial(source.extract, images, range(n), reduction="halves")
        measured: tuple[list[float], list[float]] = ([], [])
        for i in range(rounds + 1):
            for work, values in zip((plain, features), measured, strict=True):
                spent = seconds(work, model.device)
                if i:  # the first round allocates and fills caches
                    values.append(spent / (n * T))
    a, b = map(statistics.median, measured)
    return a, b


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    titles = [case.title for case in CASES]
    parser.add_argument("--classes", nargs="+", choices=titles, default=titles)
    parser.add_argument("--images", type=int, default=4, help="images that measure the cost")
    parser.add_argument(
        "--rounds", type=int, default=3, help="rounds that measure the cost; 0: leave it out"
    )
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cases = [case for case in CASES if case.title in args.classes]
    for text in table(cases, args.images, args.rounds, args.device):
        print(text, flush=True)


def line(*cells: Any) -> str:
    """A line of the table."""
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.0e}" if isinstance(value, float) else value


def table(cases: Iterable[Case], n: int, rounds: int, device: str = "cpu") -> Iterable[str]:
    """Lines of the table, each as soon as it is known."""
    yield line("class", "tuned", "parameters", *ANSWERS, "plain, ms", "cost")
    yield line("---", "---", "--:", "---", "---", "--:", "---", "---", "--:", "--:")
    for case in cases:
        for lora in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                row = examine(case, lora, Path(folder), device)
            spent = ["", ""]
            if rounds:
                with tempfile.TemporaryDirectory() as folder:
                    plain, mine = cost(case, lora, Path(folder), n, rounds, device)
                spent = [f"{1000 * plain:.1f}", f"{mine / plain:.2f}"]
            yield line(case.title, "LoRA" if lora else "full", *astuple(row), *spent)


if __name__ == "__main__":
    main()
