"""Every command that writes to a folder: one at a time, and after a killed one as if alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.processes import holder, tree

import creditline as cl
from creditline.data.image_set import ImageSet
from creditline.diffusion.config import GenerateConfig, TrainConfig, UNetConfig
from creditline.diffusion.generation import generate
from creditline.diffusion.train import train
from creditline.diffusion.tuning.adapter import AdapterConfig
from creditline.diffusion.tuning.config import TuneConfig
from creditline.errors import LockedError
from creditline.evaluation.counterfactual.experiment import CounterfactualConfig, run_counterfactual
from creditline.evaluation.truth.ground_truth import GroundTruth
from creditline.evaluation.truth.retraining import RetrainingConfig, retrain
from creditline.evaluation.truth.subsets import SubsetSpec

SMALL = TrainConfig(
    unet=UNetConfig(resolution=8, channels=(4,), attention=(), layers=1, groups=4, head_dim=4),
    steps=1,
    batch_size=4,
)
Write = Callable[[Path, Any, ImageSet], Any]


def index_of(images: ImageSet, out: Path) -> cl.Index:
    return cl.index(None, images, method="pixel-centered", out=out)


def write_counterfactual(out: Path, model: Any, images: ImageSet) -> None:
    targets = out.with_name("targets")
    generate(model, 1, targets, GenerateConfig(steps=2))
    scores = {"m": np.arange(len(images), dtype=float)[None]}
    settings = CounterfactualConfig(removals=(2,), baselines=())
    run_counterfactual(images, targets, scores, out, config=SMALL, settings=settings)


def write_truth(out: Path, model: Any, images: ImageSet) -> None:
    rng = np.random.default_rng(0)
    masks = np.stack([rng.permutation(12) < 6 for _ in range(8)])
    GroundTruth.from_arrays(masks, rng.random((8, 2)), images).write(out)


WRITERS: dict[str, Write] = {
    "index": lambda out, model, images: index_of(images, out),
    "train": lambda out, model, images: train(images, out, SMALL),
    "tune": lambda out, model, images: train(
        images, out, TuneConfig(adapter=AdapterConfig(lora_rank=2), steps=1), base=model
    ),
    "generate": lambda out, model, images: generate(model, 1, out, GenerateConfig(steps=2)),
    "retrain": lambda out, model, images: retrain(
        images,
        {"q": images.subset([0])},
        out,
        config=SMALL,
        settings=RetrainingConfig(subsets=SubsetSpec(subsets=8), seeds=1),
    ),
    "counterfactual": write_counterfactual,
    "ground truth": write_truth,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_that_another_process_writes_to_is_left_alone(
    name, tiny_model, tiny_images, tmp_path
):
    out = tmp_path / "out"
    with holder(out) as pid:
        with pytest.raises(LockedError, match=f"process {pid} "):
            WRITERS[name](out, tiny_model, tiny_images)
        assert tree(out) == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["index", "generate", "ground truth"])
def test_after_a_killed_process_the_result_is_the_same(name, tiny_model, tiny_images, tmp_path):
    out = tmp_path / "out"
    with holder(out):
        (out / ".creditline-unknown").mkdir()
    WRITERS[name](out, tiny_model, tiny_images)
    shutil.rmtree(out / ".creditline-unknown")
    assert not list(out.glob(".creditline-*"))
    WRITERS[name](tmp_path / "alone", tiny_model, tiny_images)
    unlike = {"manifest.json"}
    names = [
        {path.name for path in place.iterdir()} - unlike for place in (out, tmp_path / "alone")
    ]
    assert names[0] == names[1]


CHANGES = {
    "add": lambda index, images: index.add(images.subset(range(8, 12))),
    "remove": lambda index, images: index.remove([0]),
    "purge": lambda index, images: index.remove([0], purge=True),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_changes_of_an_index_wait_for_nobody_and_change_nothing(name, tiny_images, tmp_path):
    index = index_of(tiny_images.subset(range(8)), tmp_path / "index")
    before = tree(index.path)
    with holder(index.path) as pid:
        with pytest.raises(LockedError, match=f"process {pid} "):
            CHANGES[name](index, tiny_images)
        assert tree(index.path) == before
        assert index.trace(tiny_images.subset([0]), top=1)[0].proponents, "readers go on"
    assert CHANGES[name](index, tiny_images).n == {"add": 12, "remove": 7, "purge": 7}[name]
