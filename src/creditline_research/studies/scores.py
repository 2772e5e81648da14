"""Study of scores: every transform and every split of each method's scores, judged."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from creditline.evaluation.lds.config import LDSConfig
from creditline.evaluation.lds.contributors import has_varying_shares
from creditline.evaluation.lds.folds import fit_folds
from creditline.evaluation.lds.score import predict_outputs, score_outputs
from creditline.evaluation.truth.ground_truth import GroundTruth
from creditline.indexing.index import Index
from creditline.methods.attributor import Attributor
from creditline.methods.score_noise import ScoreNoise
from creditline.methods.subset_method import SubsetAttributor
from creditline_research.studies.top_scores import (
    SplitOutputs,
    TopScoreSplit,
    Transform,
    judge_splits,
    split_outputs,
)
from creditline_research.studies.transforms import transform_scores, transformed_outputs

Queries = Sequence[tuple[str, Any]]


def study_scores(
    index: Index,
    truth: GroundTruth,
    queries: Queries,
    selected: Sequence[Attributor],
    config: LDSConfig,
    features: list[Any] | None = None,
    splits: bool = True,
) -> list[dict[str, Any]]:
    """Judge the transforms and splits of gradient methods' scores.

    Args:
        index: of the model that was trained on all images.
        truth: of the same images and of the queries, in this order.
        queries: name and images of every folder.
        selected: methods that score the index's features.
        config: resamples and seed of the bootstrap.
        features: receives the queries' features; given again with the same index and queries,
            they are not extracted a second time.
        splits: whether splits are judged too.

    Returns:
        One group per folder: its name, and of each method its title, `"transforms"` and
        `"top_scores"`, JSON-ready.
    """
    truth = truth.complete_subsets()
    features = [] if features is None else features
    features += (
        [] if features else [index.using(selected[0]).extract(images) for _, images in queries]
    )
    bounds = _bounds(
        [(name, len(f.values)) for (name, _), f in zip(queries, features, strict=True)]
    )
    parts: list[dict[str, Any]] = [{"name": name, "methods": []} for name, _ in bounds]
    for method in selected:
        entries = _method_entries(index.using(method), truth, features, bounds, config, splits)
        for part, entry in zip(parts, entries, strict=True):
            part["methods"].append(entry)
    return parts


def study_subset_methods(
    truth: GroundTruth, queries: Queries, selected: Sequence[SubsetAttributor], config: LDSConfig
) -> list[dict[str, Any]]:
    """Judge the splits of methods that learn from retrained models, on held-out subsets.

    Args, returns: as `study_scores`.

    Raises:
        DataError, SettingsError: if a method cannot learn from the subsets of a fold.
    """
    truth = truth.complete_subsets()
    bounds = _bounds([(name, len(images)) for name, images in queries])
    seed = config.bootstrap_seed
    parts: list[dict[str, Any]] = [{"name": name, "methods": []} for name, _ in bounds]
    for method in selected:
        fits = fit_folds(method.unfitted, truth.masks, truth.losses, seed=seed)
        own = partial(fits.lds, resamples=config.resamples, seed=seed)
        splits = judge_splits(split_outputs(fits.outputs), own)
        for part, (_, rows) in zip(parts, bounds, strict=True):
            entry = {"method": method.name, "title": method.title}
            part["methods"].append({**entry, "top_scores": _split_dicts(splits, rows)})
    return parts


def _method_entries(
    index: Index,
    truth: GroundTruth,
    features: Sequence[Any],
    bounds: Sequence[tuple[str, slice]],
    config: LDSConfig,
    splits: bool,
) -> list[dict[str, Any]]:
    """One method's entry for every folder of queries."""
    plain, noise = index.using(transform="plain"), None
    scores = np.concatenate([plain.scores(block) for block in features])
    if index.errors is not None and all(block.errors is not None for block in features):
        noise = ScoreNoise.stacked([index.noise(block) for block in features])
    contributors = truth.contributors or tuple(index.store.facts()["contributor"])
    outputs = transformed_outputs(
        scores,
        None if noise is None else noise.error,
        truth.masks,
        contributors if has_varying_shares(truth.masks, contributors) else None,
    )
    options: Any = {"resamples": config.resamples, "seed": config.bootstrap_seed}
    halves = [] if noise is None else [scores + noise.sample, scores - noise.sample]
    judged: tuple[TopScoreSplit, ...] = ()
    if splits:
        judged = judge_splits(
            _split_outputs(scores, truth.masks),
            lambda values: score_outputs(values, truth.losses, **options),
            [_split_outputs(half, truth.masks) for half in halves],
        )
    entries = []
    for _, rows in bounds:
        lds: Any = {
            name: tuple(
                None
                if values is None
                else score_outputs(values[rows], truth.losses[:, :, rows], **options)
                for values in (transformed.images, transformed.totals)
            )
            for name, transformed in outputs.items()
        }
        transforms = {name: score.to_dict() for name, score in transform_scores(lds).items()}
        entry = {"method": index.method.name, "title": index.method.title, "transforms": transforms}
        entries.append({**entry, "top_scores": _split_dicts(judged, rows)})
    return entries


def _split_outputs(scores: np.ndarray, masks: np.ndarray) -> SplitOutputs:
    def outputs(transform: Transform) -> np.ndarray:
        return predict_outputs(transform(scores), masks)

    return split_outputs(outputs)


def _split_dicts(splits: Sequence[TopScoreSplit], rows: slice) -> list[dict[str, Any]]:
    return [split.select(rows).to_dict() for split in splits]


def _bounds(sizes: Sequence[tuple[str, int]]) -> list[tuple[str, slice]]:
    """Name and rows of each folder of queries, from names and numbers of queries."""
    bounds, start = [], 0
    for name, size in sizes:
        bounds.append((name, slice(start, start + size)))
        start += size
    return bounds
