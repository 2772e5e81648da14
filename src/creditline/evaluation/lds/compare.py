"""Run a comparison: score all queries once by every method, then judge folder by folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from creditline import methods
from creditline.data.image_set import ImageSet
from creditline.data.image_spec import ImageSpec
from creditline.data.load import load_images
from creditline.data.template import caption_queries
from creditline.evaluation.lds.ceiling import compute_ceiling
from creditline.evaluation.lds.comparison import OVERALL, Comparison, MethodResult, QueryGroup
from creditline.evaluation.lds.config import LDSConfig
from creditline.evaluation.lds.damping import score_dampings
from creditline.evaluation.lds.predictions import MethodOutputs, Scorer
from creditline.evaluation.lds.score import score_outputs
from creditline.indexing.queries import gather
from creditline.methods.attributor import Attributor
from creditline.settings import from_dict, require, to_dict

if TYPE_CHECKING:
    from creditline.evaluation.truth.ground_truth import GroundTruth
    from creditline.indexing.index import Index


def compare_methods(
    index: Index,
    truth: GroundTruth,
    queries: Sequence[tuple[str, Any]],
    names: Sequence[str | Attributor] = (),
    contest: LDSConfig | None = None,
    extracted: dict[str, list[Any]] | None = None,
) -> Comparison:
    """Judge methods by a ground truth.

    Args:
        index: of the model that was trained on all images.
        truth: of the same images; subsets whose retraining is not finished are left out.
        queries: name and pictures (what `Index.trace` takes) of every folder, in the order of the
            losses.
        names: methods by name or as instances: those that score the index's features, pixel
            likeness, and those that learn from retrained models. Default: the index's own.
        contest: how to judge.
        extracted: receives the queries' features; given again with the same index and queries, as
            for another ground truth, they are not extracted a second time.

    Raises:
        DataError, IndexMismatchError: if truth, index and queries do not fit together.
        SettingsError: on an unknown method, or leave-one-out, of which nothing can be held out.
    """
    contest = contest or LDSConfig()
    _require_known(names or (index.method,))
    facts = index.store.facts()
    truth.check_index(facts["id"])
    folders = [(name, *_pictures(index, source)) for name, source in queries]
    truth.check_queries([key for _, _, images in folders for key in images.ids])
    truth.check_ranking()  # before unfinished subsets are gone from its message
    truth = truth.complete_subsets()
    known = truth.contributors or tuple(facts["contributor"])
    scorer = Scorer(index, truth.masks, known, folders, index.store, contest, extracted)
    scored = scorer.all(names or (index.method,), truth.losses)
    bounds = _bounds(folders)
    bound = None
    query_names = [name for _, _, images in folders for name in images.names]
    if truth.losses.shape[1] > 1:
        bound = compute_ceiling(
            truth.losses,
            query_names=query_names,
            resamples=contest.resamples,
            seed=contest.bootstrap_seed,
        )
    parts = []
    with index.runtime.progress("judge", len(bounds) * len(scored), "method") as bar:
        for name, rows in bounds:
            entries = []
            for item in scored:
                entries.append(_judged(item, truth.losses, rows, contest, query_names[rows]))
                bar.advance()
            part_ceiling = None if bound is None else bound.select(rows)
            parts.append(QueryGroup(name, tuple(query_names[rows]), part_ceiling, tuple(entries)))
    return Comparison(tuple(parts), _facts(index, truth, contest))


def _judged(
    item: MethodOutputs,
    losses: np.ndarray,
    rows: slice,
    contest: LDSConfig,
    query_names: Sequence[str],
) -> MethodResult:
    """The entry of one method on some of the queries."""
    if item.held_out is not None:
        return MethodResult(item.name, item.title, item.held_out.select(rows))
    options: Any = {
        "query_names": query_names,
        "resamples": contest.resamples,
        "seed": contest.bootstrap_seed,
    }
    losses = losses[:, :, rows]
    totals = None if item.totals is None else score_outputs(item.totals[rows], losses, **options)
    if item.default is None:
        lds = score_outputs(item.outputs[None][rows], losses, **options)
        return MethodResult(item.name, item.title, lds, totals=totals)
    outputs = {damping: values[rows] for damping, values in item.outputs.items()}
    dampings = score_dampings(outputs, losses, item.default, contest.search, **options)
    return MethodResult(item.name, item.title, dampings.default, dampings, totals)


def _require_known(names: Sequence[str | Attributor]) -> None:
    """Refuse a name before the work that others need."""
    for name in names:
        method = methods.get(name) if isinstance(name, str) else name
        require(
            method.capabilities.held_out,
            "What is left out once cannot be judged on held-out subsets, which are those that "
            "leave it out",
            method.name,
            "Judge empirical-influence or a datamodel on random subsets instead.",
        )


def _pictures(index: Index, source: Any) -> tuple[Any, ImageSet]:
    """What the index is to extract, and the same pictures as it prepares them."""
    images = index.manifest.request["images"]
    spec = from_dict(ImageSpec, images["spec"])
    template = index.manifest.facts.get("prompt_template")
    if isinstance(source, (str, Path)) and not Path(source).is_dir():  # such as part of a zip file
        source = caption_queries(load_images(source, spec), template)
    return source, gather(
        source,
        spec,
        tuple(images["shape"]),
        runs=False,
        classes=index.manifest.facts.get("label_names"),
        template=template,
    ).images


def _bounds(folders: Sequence[tuple[str, Any, ImageSet]]) -> list[tuple[str, slice]]:
    """Name and rows of each folder, then of all together."""
    bounds, start = [], 0
    for name, _, images in folders:
        bounds.append((name, slice(start, start + len(images))))
        start += len(images)
    return bounds if len(bounds) == 1 else [*bounds, (OVERALL, slice(0, start))]


def _facts(index: Index, truth: GroundTruth, contest: LDSConfig) -> dict[str, Any]:
    subsets, seeds, _ = truth.losses.shape
    return {
        "index": str(index.path),
        "ground_truth": truth.digest(),
        "images": index.n,
        "subsets": subsets,
        "seeds": seeds,
        "settings": to_dict(contest),
    }
