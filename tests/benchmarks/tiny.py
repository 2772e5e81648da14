"""A tiny benchmark, built once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import creditline as cl
from creditline.benchmarks import BENCHMARKS
from creditline.benchmarks import build as building
from creditline.benchmarks.shipped_benchmark import pack
from creditline.diffusion.config import TrainConfig, UNetConfig
from creditline.evaluation.truth.losses import LossPlan
from creditline.evaluation.truth.retraining import RetrainingConfig
from creditline.evaluation.truth.subsets import SubsetSpec

CONFIG = TrainConfig(unet=UNetConfig(8, (8,), groups=4), steps=8, batch_size=4, learning_rate=0.02)
TINY = replace(
    BENCHMARKS["icons"],
    train=4,
    validation=2,
    generated=2,
    config=CONFIG,
    base=replace(CONFIG, steps=4),
    retraining=RetrainingConfig(
        SubsetSpec(subsets=16, stratify="contributor"),
        LossPlan(loss_timesteps=2, loss_draws=1),
        seeds=2,
    ),
    share_retraining=RetrainingConfig(
        SubsetSpec(subsets=9, scheme="contributor-shares"),
        LossPlan(loss_timesteps=2, loss_draws=1),
        seeds=1,
    ),
)


@pytest.fixture(scope="session")
def benchmark_images():
    """Twenty images by each of two contributors: enough for training, validation and a base."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    return cl.ImageSet.from_images(pixels, contributors=["ada", "bob"] * 20)


@pytest.fixture(scope="session")
def tiny_benchmark(benchmark_images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    truths = building.build(TINY, folder / "built", data=benchmark_images, say=lambda _: None)
    assert list(truths) == ["truth", "shares"]
    assert all(truth.finished.all() for truth in truths.values())
    return pack(TINY, folder / "built", folder / "packed", benchmark_images)
