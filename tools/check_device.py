"""Compare a GPU with the CPU: features, scores, an index, a training run and generated images.

The network is the one that ships with the benchmark `icons`. Features are compared with those of
the same projection on the CPU in float32, and scores with the scores of these. Everything is done
twice on the device; it repeats if both results are bitwise equal.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file
from scipy.stats import spearmanr

import creditline as cl
from creditline import methods
from creditline.benchmarks import get
from creditline.benchmarks.shipped_benchmark import find
from creditline.data.image_set import ImageSet
from creditline.diffusion.config import GenerateConfig, TrainConfig, UNetConfig
from creditline.diffusion.generation import generate
from creditline.diffusion.train import train
from creditline.features.gradients import GradientExtractor
from creditline.methods.fit_context import FitContext
from creditline.settings import override

FEATURES: tuple[dict[str, Any], ...] = (
    {"projection": "two-sided", "engine": "hooks"},
    {"projection": "two-sided", "engine": "autograd"},
    {"projection": "count-sketch", "engine": "hooks"},
    {"projection": "count-sketch", "engine": "autograd"},
    {"projection": "gaussian", "engine": "autograd", "dim": 64},
    {"projection": "two-sided", "engine": "hooks", "precision": "bf16"},
    {"projection": "two-sided", "engine": "hooks", "precision": "fp16"},
)
QUERIES = 16
STEPS = 12
CONFIG = TrainConfig(UNetConfig(16, (32, 64), (1,)), steps=STEPS, batch_size=16)


def main() -> None:
    """Print a table of features, then an index, a training run and generated images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--images", default="demo:icons", help="training images of 16 px")
    parser.add_argument("--n", type=int, default=96)
    parser.add_argument("--timesteps", type=int, default=10)
    args = parser.parse_args()
    torch.set_num_threads(1)
    loaded = cl.load_images(args.images)
    images = loaded.subset(range(args.n))
    queries = loaded.subset(range(args.n, args.n + QUERIES))
    path = find(get("icons")).model
    print("| projection | engine | precision | error of features | scores of TRAK | repeats |")
    print("| --- | --- | --- | --: | --: | --- |")
    for settings in FEATURES:
        print(_line(path, images, queries, {"timesteps": args.timesteps, **settings}, args.device))
    with tempfile.TemporaryDirectory() as folder:
        print(_index(path, images, queries, Path(folder), args.device))
        print(_training(images, Path(folder), args.device))
        print(_generation(path, Path(folder), args.device))


def _line(
    path: Path, images: ImageSet, queries: ImageSet, settings: dict[str, Any], device: str
) -> str:
    exact = _features_and_scores(path, images, queries, {**settings, "precision": "fp32"}, "cpu")
    first, second = (
        _features_and_scores(path, images, queries, settings, device) for _ in range(2)
    )
    error = np.linalg.norm(first[0] - exact[0]) / np.linalg.norm(exact[0])
    rho = np.mean([spearmanr(a, b).statistic for a, b in zip(first[1], exact[1], strict=True)])
    cells = settings["projection"], settings["engine"], settings.get("precision", "fp32")
    same = _yes(all(np.array_equal(a, b) for a, b in zip(first, second, strict=True)))
    return f"| {' | '.join(cells)} | {error:.1e} | {rho:.5f} | {same} |"


def _features_and_scores(
    path: Path, images: ImageSet, queries: ImageSet, settings: dict[str, Any], device: str
) -> tuple[np.ndarray, np.ndarray]:
    """Compute features of images and TRAK scores of queries."""
    method = override(methods.get("trak")(), settings)
    source = GradientExtractor([cl.load_model(path, device=device)], method.features)
    source.check(images)
    rows = source.extract(images, range(len(images)), reduction="halves")
    query_rows = source.extract(queries, range(len(queries)), "query")
    return rows, method.fit(FitContext(features=rows[:, 0, 0])).attribute(query_rows[:, 0, 0])


def _index(path: Path, images: ImageSet, queries: ImageSet, folder: Path, device: str) -> str:
    scores, digests = [], []
    for name, place in (("cpu", "cpu"), ("first", device), ("second", device)):
        index = cl.index(
            path, images, out=folder / name, method="d-trak", runtime=cl.Runtime(device=place)
        )
        digests.append(index.digest())
        scores.append(index.scores(queries))
    rho = np.mean([spearmanr(a, b).statistic for a, b in zip(*scores[:2], strict=True)])
    same = _yes(digests[1] == digests[2])
    return f"\nIndex of D-TRAK: scores' rank correlation with the CPU's {rho:.5f}; repeats: {same}."


def _training(images: ImageSet, folder: Path, device: str) -> str:
    weights = []
    for name, place in (("cpu", "cpu"), ("first", device), ("second", device)):
        run = train(images, folder / f"train-{name}", CONFIG, runtime=cl.Runtime(device=place))
        weights.append(_weights(run))
    error = np.linalg.norm(weights[1] - weights[0]) / np.linalg.norm(weights[0])
    same = _yes(np.array_equal(weights[1], weights[2]))
    return f"Training, {STEPS} steps: weights are {error:.1e} from the CPU's; repeats: {same}."


def _weights(run: Path) -> np.ndarray:
    (path,) = (run / "model").rglob("*.safetensors")
    stored = load_file(path)
    return np.concatenate([stored[name].ravel() for name in sorted(stored)])


def _generation(path: Path, folder: Path, device: str) -> str:
    pixels = []
    for name, place in (("cpu", "cpu"), ("first", device), ("second", device)):
        out = generate(
            path,
            8,
            folder / f"generated-{name}",
            GenerateConfig(steps=20),
            runtime=cl.Runtime(device=place),
        )
        pixels.append(cl.load_images(out).pixels(range(8)).numpy())
    levels = np.abs(pixels[1] - pixels[0]).max() * 255 / 2
    same = _yes(np.array_equal(pixels[1], pixels[2]))
    return f"Generated images, 20 steps: within {levels:.0f} of 255 levels; repeats: {same}."


def _yes(value: bool) -> str:
    return "yes" if value else "NO"


if __name__ == "__main__":
    main()
