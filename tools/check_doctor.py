"""Compare the cost that `creditline doctor` estimates with the cost of building the index.

On the networks of the shipped benchmarks with one thread: CPU time and disk of the index, and disk
after the first trace. Ratios are estimates over measurements. The machine may do other work.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import creditline as cl
from creditline.benchmarks.benchmark import BENCHMARKS
from creditline.benchmarks.shipped_benchmark import find
from creditline.data.image_set import ImageSet
from creditline.doctor import diagnose

NETWORKS = {"icons": "icons", "cifar2": "cifar2-small"}
ENGINES: dict[str, dict[str, Any]] = {
    "hooks": {"engine": "hooks"},
    "autograd": {"engine": "autograd", "projection": "count-sketch"},
}


def main() -> None:
    """Print a row for each network, number of timesteps and engine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--timesteps", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--icons", default="demo:icons", help="images for the network of icons")
    parser.add_argument(
        "--cifar2", help="images for the network of cifar2; without them it is left out"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| network | T | engine | CPU s | estimate | MB built | estimate | MB traced | estimate |"
    )
    print("| --- | --: | --- |" + " --: |" * 6)
    for name, t, engine in itertools.product(args.networks, args.timesteps, args.engines):
        place = getattr(args, name)
        if place is not None:
            settings = {"timesteps": t, **ENGINES[engine]}
            pairs = _compare(find(BENCHMARKS[NETWORKS[name]]).model, place, args.images, settings)
            cells = " | ".join(
                f"{actual:.3g} | {estimate / actual:.2f}" for estimate, actual in pairs
            )
            print(f"| {name} | {t} | {engine} | {cells} |", flush=True)


def _compare(
    model: Path, place: str, n: int, settings: dict[str, Any]
) -> list[tuple[float, float]]:
    """Estimate and measure CPU seconds, MB of the index, and MB after the first trace."""
    denoiser = cl.load_model(model)
    loaded = cl.load_images(place, cl.ImageSpec(size=denoiser.image_shape[1]))
    rows = np.linspace(0, len(loaded) - 1, n).round().astype(np.int64)
    images: ImageSet = loaded.subset(rows)
    cost = diagnose(denoiser, images, **settings).cost
    if cost is None:
        raise RuntimeError(f"The doctor estimated no cost for {model}.")
    folder = Path(tempfile.mkdtemp(prefix="creditline-"))
    try:
        before = time.process_time()
        index = cl.index(denoiser, images, out=folder / "index", **settings)
        seconds = time.process_time() - before
        built = _megabytes(folder)
        index.trace(images.subset([0]), top=1)
        traced = _megabytes(folder)
    finally:
        shutil.rmtree(folder)
    return [
        (cost.build_seconds, seconds),
        (cost.build_bytes / 1e6, built),
        (cost.total_bytes / 1e6, traced),
    ]


def _megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


if __name__ == "__main__":
    main()
