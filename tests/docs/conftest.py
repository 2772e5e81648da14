"""A folder with the files that the docs name: a model, images, indexes, a pipeline, an adapter."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pytest
from PIL import Image
from tests import tiny_pipelines

import creditline as cl
from creditline.diffusion import presets
from creditline.diffusion.config import UNetConfig
from creditline.diffusion.tuning.config import AdapterConfig
from creditline.diffusion.tuning.presets import TUNING_PRESETS
from creditline.methods import ekfac

TINY = {"unet": UNetConfig(8, (8, 16), (1,), 1, 4), "steps": 3, "batch_size": 4}


@contextmanager
def small_presets() -> Iterator[None]:
    """Presets that train in a moment, and commands that start no processes."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("icons-16", "small-16"):
            config = replace(presets.PRESETS[name], **TINY, checkpoint_every=1, sample_every=0)
            patch.setitem(presets.PRESETS, name, config)
        tune = TUNING_PRESETS["tune"]
        patch.setitem(TUNING_PRESETS, "tune", replace(tune, steps=2, batch_size=2))
        patch.setattr(joblib, "cpu_count", lambda: 1)
        patch.setattr(ekfac, "DIM", 512)  # the networks have few parameters
        yield


@pytest.fixture(scope="session")
def original(tmp_path_factory) -> Path:
    """The folder, made once."""
    with small_presets():
        return _filled(tmp_path_factory.mktemp("docs"))


def _filled(root: Path) -> Path:
    _images(root / "data" / "icons", "icon", 12, 8)
    _images(root / "data" / "more", "more", 2, 8)
    pipeline = tiny_pipelines.make("sd")
    pipeline.save_pretrained(root / "sd")
    _images(root / "data" / "prompts", "prompt", 4, 2 * tiny_pipelines.TINY.side)
    _adapter(root)
    _mask(root / "left-half.png")
    config = presets.preset("icons-16")
    for seed, name in enumerate(("icons", "icons-2")):
        cl.train(root / "data" / "icons", root / "runs" / name, replace(config, seed=seed))
    cl.generate(root / "runs" / "icons", 2, root / "generated")
    shutil.copy(root / "generated" / "00000.png", root / "query.png")
    for method, name in (("combined", "icons-index"), ("trak", "icons-trak")):
        cl.index(
            str(root / "runs" / "icons"),
            root / "data" / "icons",
            method=method,
            out=root / "runs" / name,
        )
    checkpoints = sorted(map(str, (root / "runs" / "icons" / "checkpoints").iterdir()))
    cl.index(
        checkpoints,
        root / "data" / "icons",
        method="tracin",
        out=root / "runs" / "tracin",
    )
    return root


@pytest.fixture
def workspace(original, tmp_path, monkeypatch) -> Iterator[Path]:
    """A copy of the folder, as the current one."""
    shutil.copytree(original, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    with small_presets():
        yield Path(os.getcwd())


def _adapter(root: Path) -> None:
    """A LoRA adapter of the pipeline, as one file."""
    run = cl.train(
        root / "data" / "prompts",
        root / "runs" / "adapter",
        replace(TUNING_PRESETS["tune"], adapter=AdapterConfig(lora_rank=2)),
        base=str(root / "sd"),
    )
    (file,) = (Path(run) / "model").glob("pytorch_lora_weights.safetensors")
    shutil.copy(file, root / "style.safetensors")


def _mask(path: Path) -> None:
    """A gray image whose left half is white."""
    pixels = np.zeros((8, 8), dtype=np.uint8)
    pixels[:, :4] = 255
    Image.fromarray(pixels).save(path)


def _images(folder: Path, name: str, count: int, size: int) -> None:
    """Random images by three contributors, with captions."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    with open(folder / "metadata.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file_name", "contributor", "text"])
        for i in range(count):
            pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{name}-{i}.png")
            table.writerow([f"{name}-{i}.png", f"artist {i % 3}", "a red cat"])
