"""The same command several times at once on one folder: one works, the others say who does."""

from __future__ import annotations

import importlib
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tests.concurrency.forks import together

import creditline as cl
from creditline.data.image_set import ImageSet
from creditline.diffusion.config import TrainConfig, UNetConfig
from creditline.errors import LockedError
from creditline.evaluation.truth.ground_truth import GroundTruth
from creditline.evaluation.truth.losses import LossPlan
from creditline.evaluation.truth.retraining import RetrainingConfig, retrain
from creditline.evaluation.truth.subsets import SubsetSpec

MODULES = ("torch", "diffusers", "creditline.api", "creditline.diffusion.train")
UNET = UNetConfig(resolution=8, channels=(4,), groups=4, head_dim=4)
CONFIG = TrainConfig(unet=UNET, steps=4, batch_size=4, checkpoint_every=2, learning_rate=0.02)
PLAN = LossPlan(loss_timesteps=2, loss_draws=1)
WAIT = 60


def images() -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), np.uint8)
    return ImageSet.from_images(pixels)


def train(folder: Path) -> None:
    cl.train(images(), folder, CONFIG)


def generate(model: Path, folder: Path) -> None:
    cl.generate(model, 4, folder, cl.GenerateConfig(steps=2), batch_size=1)


def evaluate(folder: Path) -> None:
    settings = RetrainingConfig(SubsetSpec(subsets=8), PLAN, seeds=1)
    few = TrainConfig(unet=UNET, steps=1, batch_size=4)
    retrain(images(), {"q": images().subset([0])}, folder, config=few, settings=settings)


def attempt(work: Callable[[Path], object], folder: Path, pause: float) -> Counter[str]:
    """Run a command until the folder is complete."""
    counts, end = Counter[str](), time.time() + WAIT
    time.sleep(pause)
    while time.time() < end:
        try:
            work(folder)
            counts["done"] += 1
            return counts
        except LockedError as error:
            if "is being written by" not in str(error):
                raise
            counts["locked"] += 1
        time.sleep(0.05)
    raise TimeoutError(counts)


def contents(kind: str, folder: Path) -> Any:
    """What a folder holds, apart from times; nothing of a lock is left."""
    assert not cl.verify(folder).damaged
    files = {x.relative_to(folder).as_posix(): x for x in folder.rglob("*") if x.is_file()}
    assert not [name for name in files if ".creditline" in name]
    if kind == "retrain":
        return [GroundTruth.read(folder).digest(), sorted(files)]
    weights = {n: x.read_bytes().hex() for n, x in files.items() if x.suffix != ".json"}
    return [weights, sorted(files)]


def play(place: Path, kinds: str, rounds: int, seed: int) -> Counter[str]:
    seen = Counter[str]()
    works: dict[str, Callable[[Path], object]] = {
        "train": train,
        "generate": partial(generate, place / "train"),
        "retrain": evaluate,
    }
    for kind, work in works.items():
        if kind not in kinds:
            continue
        together([partial(work, place / kind)])
        (expected,) = together([partial(contents, kind, place / kind)])
        for number in range(rounds):
            rng, out = random.Random(seed + number), place / f"{kind}-{number}"
            pauses = [rng.random() * 0.3 for _ in range(rng.randint(2, 4))]
            for counts in together([partial(attempt, work, out, pause) for pause in pauses]):
                seen.update(counts)
            (result,) = together([partial(contents, kind, out)])
            assert result == expected, kind
    return seen


if __name__ == "__main__":
    for module in MODULES:
        importlib.import_module(module)
    print(json.dumps(play(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
