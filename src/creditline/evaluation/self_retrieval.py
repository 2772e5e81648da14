"""Self-retrieval: whether a training image, used as a query, is its own top proponent.

This is a necessary condition that needs no retraining: the model was trained on exactly this image.
The noise of queries is independent of the noise of the index, so shared noise cannot cause a match.
Near-duplicates are added to the index, but not to training. Their ranks show whether similarity of
pixels leads to similarity of gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from creditline.api import index as build_index
from creditline.bounds import COUNT, NOT_NEGATIVE, SEED, Bounds
from creditline.data.image_set import ImageSet
from creditline.data.load import load_images
from creditline.diffusion.denoiser import Denoiser
from creditline.diffusion.load import load_model
from creditline.evaluation.interval import wilson_interval
from creditline.explain import explained
from creditline.fingerprint import of_json
from creditline.gradients.parameters import select_layers
from creditline.gradients.spec import FeatureSpec
from creditline.methods import registry
from creditline.methods.attributor import Attributor
from creditline.runtime import Runtime
from creditline.settings import override, require, setting, validate_settings

if TYPE_CHECKING:
    from creditline.data.image_source import ImageSource
    from creditline.diffusion.model_source import ModelSource


@dataclass(frozen=True)
class SelfRetrievalConfig:
    """Settings of the self-retrieval check."""

    methods: tuple[str, ...] = setting(
        (), "methods to check; none: every gradient method of one trained model"
    )
    queries: int = setting(
        200, "number of training images used as queries, drawn at random", bounds=COUNT
    )
    duplicates: int = setting(
        20, "number of queries of which a near-duplicate is added to the index", bounds=NOT_NEGATIVE
    )
    noise: int = setting(
        8, "largest difference of a near-duplicate per pixel value (of 255)", bounds=Bounds(0, 255)
    )
    seed: int = setting(0, "seed of the random queries and near-duplicates", bounds=SEED)
    timesteps: int = setting(10, "timesteps per image", bounds=COUNT)
    dim: int | None = setting(
        None,
        "projection dimension; none: each method's own, or fewer for a smaller model",
        bounds=COUNT,
    )

    def __post_init__(self) -> None:
        validate_settings(self)
        require(
            self.duplicates <= self.queries,
            "duplicates must not be more than the queries",
            self.duplicates,
            "Try 20.",
        )


@dataclass(frozen=True)
class RetrievalResult:
    """Result of one method.

    Attributes:
        method: title of the method.
        first: number of queries that are their own top proponent.
        queries: number of queries.
        interval: 95 % interval of the rate.
        duplicate_ranks: rank of each near-duplicate among all images but the query itself.
    """

    method: str
    first: int
    queries: int
    interval: tuple[float, float]
    duplicate_ranks: tuple[int, ...]

    @property
    def rate(self) -> float:
        """The share of queries that are their own top proponent."""
        return self.first / self.queries

    @property
    def duplicates_in_top_3(self) -> int:
        """The number of near-duplicates among the three top images besides the query."""
        return sum(rank <= 3 for rank in self.duplicate_ranks)


@explained
def check_self_retrieval(
    model: ModelSource,
    images: ImageSource,
    out: str | Path,
    settings: SelfRetrievalConfig | None = None,
    runtime: Runtime | None = None,
) -> list[RetrievalResult]:
    """Run the check for gradient methods that take a trained model.

    Args:
        model: the model; see `load_model`.
        images: training images of the model; see `load_images`.
        out: folder of the indexes; an interrupted check continues. Methods share an index where
            they can.
        settings: settings of the check.
        runtime: where and how features are extracted.

    Returns:
        One result per method.

    Raises:
        SettingsError: if there are more queries than images, or a method is unknown or not of this
            kind.
    """
    settings = settings or SelfRetrievalConfig()
    selected = _select(settings.methods)
    device = (runtime or Runtime()).main_device
    denoiser, image_set = load_model(model, device=device), load_images(images)
    require(
        settings.queries <= len(image_set),
        f"There are {len(image_set)} training images to draw queries from",
        settings.queries,
        "Use fewer queries.",
    )
    rng = np.random.default_rng(settings.seed)
    rows = np.sort(rng.choice(len(image_set), settings.queries, replace=False))
    duplicated = rng.permutation(rows)[: settings.duplicates]
    indexed = add_near_duplicates(image_set, duplicated, settings.noise, rng)
    queries = image_set.subset(rows)
    results = []
    for group in _group_by_index(selected, settings, denoiser):
        folder = Path(out) / group[0].name
        index = build_index(denoiser, indexed, method=group[0], out=folder, runtime=runtime)
        features = index.extract(queries)
        for method in group:
            scores = index.using(method).scores(features)
            results.append(
                _rank(method.title, scores, rows, duplicated, len(image_set), indexed.ids)
            )
    return results


def _select(names: Sequence[str]) -> list[type[Attributor]]:
    """The named methods; without names all that can be checked."""
    if not names:
        return [cls for cls in registry.classes().values() if _is_checked(cls)]
    for name in names:
        require(
            _is_checked(registry.get(name)),
            "The check takes gradient methods of one trained model",
            name,
            "Use combined, trak or another of `creditline methods`.",
        )
    return [registry.get(name) for name in names]


def _is_checked(cls: type[Attributor]) -> bool:
    has = cls.capabilities
    return (has.features, has.models) == ("gradients", "final") and not has.needs_trajectory


def _group_by_index(
    selected: Sequence[type[Attributor]], settings: SelfRetrievalConfig, model: Denoiser
) -> list[list[Attributor]]:
    """Group methods by the index that they share."""
    groups: dict[str, list[Attributor]] = {}
    for cls in selected:
        method: Any = override(cls(), {"timesteps": settings.timesteps})
        dim = settings.dim or _largest_dim(method.features, model)
        method = override(method, {"dim": dim})
        groups.setdefault(of_json(method.index_settings()), []).append(method)
    return list(groups.values())


def _largest_dim(spec: FeatureSpec, model: Denoiser) -> int:
    """A method's own dimension, or the largest power of two below the number of parameters."""
    size = sum(layer.size for layer in select_layers(model.module, spec.parameters))
    return min(spec.projection.dim, 1 << ((size - 1).bit_length() - 1))


def add_near_duplicates(
    images: ImageSet, rows: Sequence[int] | np.ndarray, noise: int, rng: np.random.Generator
) -> ImageSet:
    """Append near-duplicates of some images, in the order of `rows`.

    Each pixel value changes by a uniform random integer from `-noise` to `noise`.
    """
    originals = images.array(np.asarray(rows, dtype=np.int64))
    shifted = originals.astype(np.int16) + rng.integers(-noise, noise + 1, originals.shape)
    copies = np.clip(shifted, 0, 255).astype(np.uint8)
    both = [*range(len(images)), *map(int, rows)]
    indexed = ImageSet.from_images(
        np.concatenate([images.array(), copies]),
        names=[*images.names, *(f"planted/{images.names[int(r)]}" for r in rows)],
        contributors=[images.contributors[i] for i in both],
        texts=[images.texts[i] for i in both],
        labels=[images.labels[i] for i in both],
        spec=replace(images.spec, center_crop=None),  # the images are cropped already
        source=f"{images.source} with {len(rows)} planted near-duplicates",
    )
    captions = images.captions
    return indexed.with_captions(None if captions is None else [captions[i] for i in both])


def _rank(
    title: str,
    scores: np.ndarray,
    rows: np.ndarray,
    duplicated: np.ndarray,
    n: int,
    ids: Sequence[str],
) -> RetrievalResult:
    """Rank queries and near-duplicates by a score matrix of shape `(m, n + duplicated)`."""
    best = scores.argmax(1)
    first = sum(ids[b] == ids[r] for b, r in zip(best, rows, strict=True))
    ranks = []
    for j, row in enumerate(duplicated):
        others = scores[int(np.searchsorted(rows, row))].copy()
        others[row] = -np.inf
        ranks.append(int((others > others[n + j]).sum()) + 1)
    interval = wilson_interval(first, len(rows))
    return RetrievalResult(title, first, len(rows), interval, tuple(ranks))
