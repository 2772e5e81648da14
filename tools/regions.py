"""Does a region find what it was made from? Pictures composed of two training icons, by halves.

    python tools/regions.py [--methods trak,d-trak] [--pictures 30] [--timesteps 10] [--seed 0]

Each picture is the left half of one training icon beside the right half of another, of the `icons`
benchmark that ships, and is traced to all of its training images under its model: as a whole, and
either half by itself. Printed is how often the icon that a half is of comes first, or in the top 3,
and the same of the icon on the other side, which a region should lose.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

import creditline as cl
from creditline.benchmarks import benchmark, shipped
from creditline.data.image_set import ImageSet
from creditline.evaluation.interval import wilson_interval
from creditline.fingerprint import key64

LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)


def composed(images: ImageSet, count: int, seed: int) -> tuple[ImageSet, np.ndarray]:
    """Pictures of two halves, and the positions of the icons they are of, shape `(m, 2)`."""
    drawn = np.random.Generator(np.random.Philox(key=key64("regions", seed)))
    pairs = np.stack([drawn.choice(len(images), 2, replace=False) for _ in range(count)])
    half = images.shape[2] // 2
    pixels = images.array()
    left, right = pixels[pairs[:, 0]][:, :, :half], pixels[pairs[:, 1]][:, :, half:]
    return ImageSet.from_images(np.concatenate([left, right], axis=2)), pairs


def ranks(scores: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Rank of one training image of each query; 1 is the strongest."""
    return 1 + (scores > scores[np.arange(len(scores)), wanted][:, None]).sum(1)


def line(traced: str, of: str, found: np.ndarray) -> str:
    """One row of the table."""
    low, high = wilson_interval(int((found <= 3).sum()), len(found))
    first, three, n = (found <= 1).sum(), (found <= 3).sum(), len(found)
    share = f"{three} ({low:.0%} to {high:.0%})"
    return f"| {traced} | {of} | {first} of {n} | {share} | {np.median(found):g} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", default="trak,d-trak")
    parser.add_argument("--pictures", type=int, default=30)
    parser.add_argument("--timesteps", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    icons = shipped.find(benchmark.get("icons"))
    images, _ = icons.images()
    pictures, pairs = composed(images, args.pictures, args.seed)
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
                "whole": index.extract(pictures),
                "left half": index.extract(pictures, region=LEFT),
                "right half": index.extract(pictures, region=RIGHT),
            }
            print(f"\n{index.method.title}\n\n| traced | rank of the icon | 1st | top 3 | median |")
            print("|---|---|---|---|---|")
            for name, features in traced.items():
                scores = index.scores(features)
                for side, of in enumerate(("on the left", "on the right")):
                    print(line(name, of, ranks(scores, pairs[:, side])), flush=True)


if __name__ == "__main__":
    main()
