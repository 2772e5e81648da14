"""Trace regions of composed images: does each half lead to the icon that it comes from?

    python tools/regions.py [--methods trak,d-trak] [--images 30] [--timesteps 10] [--seed 0]

Each image is the left half of one training icon beside the right half of another, of the shipped
benchmark `icons`. It is traced completely and by either half. The table says how often the icon of
a half comes first or in the top 3, and how often the icon of the other half does, which should be
rare.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

import creditline as cl
from creditline.benchmarks import benchmark, shipped_benchmark
from creditline.data.image_set import ImageSet
from creditline.evaluation.interval import wilson_interval
from creditline.fingerprint import key64

LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)


def compose(images: ImageSet, count: int, seed: int) -> tuple[ImageSet, np.ndarray]:
    """Compose images of two halves; return them and the positions of their icons, `(m, 2)`."""
    rng = np.random.Generator(np.random.Philox(key=key64("regions", seed)))
    pairs = np.stack([rng.choice(len(images), 2, replace=False) for _ in range(count)])
    half = images.shape[2] // 2
    pixels = images.array()
    left, right = pixels[pairs[:, 0]][:, :, :half], pixels[pairs[:, 1]][:, :, half:]
    return ImageSet.from_images(np.concatenate([left, right], axis=2)), pairs


def ranks(scores: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Rank one training image for each query; 1 is the strongest."""
    return 1 + (scores > scores[np.arange(len(scores)), target][:, None]).sum(1)


def line(traced: str, icon: str, positions: np.ndarray) -> str:
    """Format one row of the table."""
    low, high = wilson_interval(int((positions <= 3).sum()), len(positions))
    first, three, n = (positions <= 1).sum(), (positions <= 3).sum(), len(positions)
    share = f"{three} ({low:.0%} to {high:.0%})"
    return f"| {traced} | {icon} | {first} of {n} | {share} | {np.median(positions):g} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", default="trak,d-trak")
    parser.add_argument("--images", type=int, default=30)
    parser.add_argument("--timesteps", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    icons = shipped_benchmark.find(benchmark.get("icons"))
    images, _ = icons.images()
    composed, pairs = compose(images, args.images, args.seed)
    for method in args.methods.split(","):
        with tempfile.TemporaryDirectory() as folder:
            index = cl.index(
                str(icons.model),
                images,
                method=method,
                timesteps=args.timesteps,
                out=Path(folder) / "index",
            )
            traced = {
                "complete image": index.extract(composed),
                "left half": index.extract(composed, region=LEFT),
                "right half": index.extract(composed, region=RIGHT),
            }
            print(f"\n{index.method.title}\n\n| traced | rank of the icon | 1st | top 3 | median |")
            print("|---|---|---|---|---|")
            for name, features in traced.items():
                scores = index.scores(features)
                for side, icon in enumerate(("on the left", "on the right")):
                    print(line(name, icon, ranks(scores, pairs[:, side])), flush=True)


if __name__ == "__main__":
    main()
