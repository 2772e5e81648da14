"""Compare what predicts retraining: similarity of large areas, of details, or mean-centered.

    python tools/pixel_similarity.py icons
    python tools/pixel_similarity.py cifar2-small --data cifar2.zip/train

LDS of cosines between images averaged over blocks, between their residuals, and between
mean-centered images. No model is run.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np

from creditline.benchmarks import get
from creditline.benchmarks.build import GENERATED, VALIDATION
from creditline.benchmarks.markdown import table
from creditline.benchmarks.shipped_benchmark import find
from creditline.data.load import load_images
from creditline.evaluation.lds.score import compute_lds
from creditline.methods import FitContext
from creditline.methods.pixel_centered import PixelCentered
from creditline.methods.pixel_cosine import PixelCosine

SIDES = (1, 2, 4, 8)


def average_blocks(images: np.ndarray, side: int) -> np.ndarray:
    """Replace each of `side x side` blocks of images `(b, C, H, W)` by its mean."""
    b, c, h, w = images.shape
    blocks = images.reshape(b, c, side, h // side, side, w // side)
    return np.broadcast_to(blocks.mean((3, 5), keepdims=True), blocks.shape).reshape(b, c, h, w)


def views(images: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the compared images by name."""
    yield "all pixels", images
    for side in SIDES:
        yield f"means of {side} × {side} blocks", average_blocks(images, side)
    for side in SIDES:
        yield f"residuals of {side} × {side} blocks", images - average_blocks(images, side)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("--data")
    options = parser.parse_args()
    case = find(get(options.name), None)
    train, validation = case.images(options.data)
    queries = {VALIDATION: validation, GENERATED: load_images(case.generated)}
    truths = {part: case.truth().of_folder(part) for part in queries}
    pixels = {
        part: images.pixels().numpy() for part, images in (("train", train), *queries.items())
    }

    rows = []
    seen = {part: dict(views(array)) for part, array in pixels.items()}
    for view in seen["train"]:
        for method in (PixelCosine(), PixelCentered()):
            attributor = method.fit(FitContext(features=_flat(seen["train"][view])))
            cells = []
            for part, truth in truths.items():
                score = compute_lds(
                    attributor.attribute(_flat(seen[part][view])), truth.masks, truth.losses
                )
                low, high = score.interval
                cells.append(f"{score.mean:.1%} ({low:.1%} to {high:.1%})".replace("%", ""))
            rows.append([view, "yes" if method.center else "no", *cells])
    print(table(["compared", "mean-centered", *queries], rows))


def _flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)


if __name__ == "__main__":
    main()
