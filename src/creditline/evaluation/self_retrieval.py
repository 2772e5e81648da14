"""Self-retrieval: does a training image, shown as a query, come back as its own top proponent?

A necessary condition that needs no retraining: the model did train on exactly this image. The
query's noise is drawn independently of the index's, so nothing is retrieved by shared noise.
Near-duplicates are planted among the indexed images (not in training) to see whether likeness in
pixels survives as likeness in gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from creditline import methods
from creditline.api import index as build_index
from creditline.data.image_set import ImageSet
from creditline.data.load import load_images
from creditline.diffusion.load import load_model
from creditline.evaluation.interval import wilson_interval
from creditline.runtime import Runtime
from creditline.settings import override, require, setting

ON_ONE_INDEX = ("trak", "gradient-dot", "gradient-cosine", "relative-if", "renormalized-if")


@dataclass(frozen=True)
class SelfRetrievalConfig:
    """Settings of the check."""

    queries: int = setting(200, "training images used as queries, drawn at random")
    planted: int = setting(20, "queries of which a near-duplicate is planted in the index")
    noise: int = setting(8, "near-duplicates differ by up to this much (of 255) per pixel")
    seed: int = setting(0, "seed of the draw and of the near-duplicates")
    timesteps: int = setting(10, "timesteps per image")
    dim: int = setting(4096, "projection dimension")

    def __post_init__(self) -> None:
        require(self.queries >= 1, "queries must be at least 1", self.queries, "Try 200.")
        require(
            0 <= self.planted <= self.queries,
            "planted must lie between 0 and the number of queries",
            self.planted,
            "Try 20.",
        )
        require(self.noise >= 0, "noise must not be negative", self.noise, "Try 8.")
        require(self.seed >= 0, "seed must not be negative", self.seed, "Try 0.")


@dataclass(frozen=True)
class RetrievalResult:
    """Result for one method.

    Attributes:
        method: its title.
        first: queries that came back as their own top proponent.
        queries: of how many.
        interval: 95 % interval of the rate.
        duplicate_ranks: rank of each planted near-duplicate, the query itself left out.
    """

    method: str
    first: int
    queries: int
    interval: tuple[float, float]
    duplicate_ranks: tuple[int, ...]

    @property
    def rate(self) -> float:
        """Share of queries that came back first."""
        return self.first / self.queries

    @property
    def duplicates_in_top_3(self) -> int:
        """Planted near-duplicates among the three strongest besides the query."""
        return sum(rank <= 3 for rank in self.duplicate_ranks)


def self_retrieval(
    model: Any,
    images: Any,
    out: str | Path,
    settings: SelfRetrievalConfig | None = None,
    runtime: Runtime | None = None,
) -> list[RetrievalResult]:
    """Run the check for TRAK and the methods that share its index, and for D-TRAK.

    Args:
        model: what `load_model` takes.
        images: its training images; what `load_images` takes.
        out: folder for the two indexes; an interrupted run continues.
        settings: see `SelfRetrievalConfig`.
        runtime: where and how features are extracted.

    Returns:
        One result per method.

    Raises:
        SettingsError: if more queries are asked for than there are images.
    """
    settings = settings or SelfRetrievalConfig()
    denoiser, pictures = (
        load_model(model, device=(runtime or Runtime()).main_device),
        load_images(images),
    )
    require(
        settings.queries <= len(pictures),
        f"There are {len(pictures)} training images to draw queries from",
        settings.queries,
        "Ask for fewer queries.",
    )
    rng = np.random.default_rng(settings.seed)
    rows = np.sort(rng.choice(len(pictures), settings.queries, replace=False))
    planted = rng.permutation(rows)[: settings.planted]
    indexed = plant(pictures, planted, settings.noise, rng)
    queries = pictures.subset(rows)
    results = []
    for name, sharing in (("trak", ON_ONE_INDEX), ("d-trak", ("d-trak",))):
        chosen = {"timesteps": settings.timesteps, "dim": settings.dim}
        method = override(methods.get(name)(), chosen)
        index = build_index(denoiser, indexed, method=method, out=Path(out) / name, runtime=runtime)
        features = index.extract(queries)
        for other in sharing:
            scores = index.using(other).scores(features)
            results.append(_judge(other, scores, rows, planted, len(pictures), indexed.ids))
    return results


def plant(
    images: ImageSet, rows: Sequence[int] | np.ndarray, noise: int, rng: np.random.Generator
) -> ImageSet:
    """The images with near-duplicates of some appended, in the order of `rows`.

    Each pixel value moves by a uniform whole number from `-noise` to `noise`.
    """
    originals = images.array(np.asarray(rows, dtype=np.int64))
    moved = originals.astype(np.int16) + rng.integers(-noise, noise + 1, originals.shape)
    copies = np.clip(moved, 0, 255).astype(np.uint8)
    return ImageSet.from_images(
        np.concatenate([images.array(), copies]),
        names=[*images.names, *(f"planted/{images.names[int(r)]}" for r in rows)],
        contributors=[*images.contributors, *(images.contributors[int(r)] for r in rows)],
        labels=[*images.labels, *(images.labels[int(r)] for r in rows)],
        spec=replace(images.spec, center_crop=None),  # cut already; once more would shrink them
        source=f"{images.source} with {len(rows)} planted near-duplicates",
    )


def _judge(
    name: str,
    scores: np.ndarray,
    rows: np.ndarray,
    planted: np.ndarray,
    n: int,
    ids: Sequence[str],
) -> RetrievalResult:
    """Ranks from a score matrix of shape `(m, n + planted)`."""
    best = scores.argmax(1)
    first = sum(ids[b] == ids[r] for b, r in zip(best, rows, strict=True))
    ranks = []
    for j, row in enumerate(planted):
        mine = scores[int(np.searchsorted(rows, row))].copy()
        mine[row] = -np.inf
        ranks.append(int((mine > mine[n + j]).sum()) + 1)
    interval = wilson_interval(first, len(rows))
    return RetrievalResult(methods.get(name).title, first, len(rows), interval, tuple(ranks))
