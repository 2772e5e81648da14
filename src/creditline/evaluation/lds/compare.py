"""Comparison of methods by LDS: scores all queries by every method, then evaluates each folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from creditline.evaluation.lds.ceiling import compute_ceiling
from creditline.evaluation.lds.comparison import Comparison, MethodResult, QueryGroup
from creditline.evaluation.lds.config import LDSConfig
from creditline.evaluation.lds.damping import score_dampings
from creditline.evaluation.lds.predictions import FeatureStore, MethodOutputs, OutputPredictor
from creditline.evaluation.lds.query_folders import group_rows, load_query_folders
from creditline.evaluation.lds.score import score_outputs
from creditline.explain import explained
from creditline.methods import registry
from creditline.settings import require, to_dict

if TYPE_CHECKING:
    from creditline.data.image_source import ImageSource
    from creditline.evaluation.truth.ground_truth import GroundTruth
    from creditline.indexing.index import Index
    from creditline.indexing.queries import QuerySource
    from creditline.methods.attributor import Attributor


@explained
def compare_methods(
    index: Index,
    truth: GroundTruth,
    queries: Sequence[tuple[str, ImageSource | QuerySource]],
    methods: Sequence[str | Attributor] = (),
    config: LDSConfig | None = None,
    features: FeatureStore | None = None,
) -> Comparison:
    """Compute the LDS of methods on an index.

    Bilinear and model methods score the queries by the index. Subset methods learn from the ground
    truth and are evaluated on held-out subsets. The baselines of the registry and a random
    predictor are added.

    Args:
        index: index of the model that was trained on all images.
        truth: ground truth of the same images. Unfinished subsets are left out.
        queries: pairs of name and query images (see `Index.trace`) of every folder, in the order
            of the losses.
        methods: methods by name or as instances; by default the method of the index.
        config: settings of the evaluation.
        features: extracted query features, by noise plan. A dictionary that is passed again with
            the same index and queries saves their extraction for another ground truth.

    Returns:
        The LDS of every method on every folder of queries, and on all queries.

    Raises:
        DataError, IndexMismatchError: if ground truth, index and queries do not fit together.
        SettingsError: if a method is unknown or cannot predict held-out subsets.
    """
    config, methods = config or LDSConfig(), methods or (index.method,)
    _require_held_out(methods)
    truth.check_index(index.store.facts()["id"])
    folders = load_query_folders(index, queries)
    truth.check_queries([key for folder in folders for key in folder.images.ids])
    truth.check_ranking()  # first, so that its message counts unfinished subsets
    truth = truth.complete_subsets()
    predictions = OutputPredictor(index, truth, folders, config, features).predict_all(methods)
    names = [name for folder in folders for name in folder.images.names]
    ceiling = None
    if truth.losses.shape[1] > 1:
        options: Any = {"resamples": config.resamples, "seed": config.bootstrap_seed}
        ceiling = compute_ceiling(truth.losses, query_names=names, **options)
    groups, rows_by_name = [], group_rows(folders)
    total = len(rows_by_name) * len(predictions)
    with index.runtime.progress("evaluate", total, "method") as bar:
        for name, rows in rows_by_name:
            results = []
            for prediction in predictions:
                results.append(_evaluate(prediction, truth.losses, rows, config, names[rows]))
                bar.advance()
            bound = None if ceiling is None else ceiling.select(rows)
            groups.append(QueryGroup(name, tuple(names[rows]), bound, tuple(results)))
    return Comparison(tuple(groups), _facts(index, truth, config))


def _evaluate(
    prediction: MethodOutputs,
    losses: np.ndarray,
    rows: slice,
    config: LDSConfig,
    query_names: Sequence[str],
) -> MethodResult:
    """Compute the LDS of one method on some of the queries."""
    name, title = prediction.name, prediction.title
    if prediction.held_out is not None:
        return MethodResult(name, title, prediction.held_out.select(rows))
    options: Any = {
        "query_names": query_names,
        "resamples": config.resamples,
        "seed": config.bootstrap_seed,
    }
    losses, totals = losses[:, :, rows], None
    if prediction.totals is not None:
        totals = score_outputs(prediction.totals[rows], losses, **options)
    if prediction.default_damping is None:
        lds = score_outputs(prediction.outputs[None][rows], losses, **options)
        return MethodResult(name, title, lds, totals=totals)
    outputs = {damping: values[rows] for damping, values in prediction.outputs.items()}
    default = prediction.default_damping
    dampings = score_dampings(outputs, losses, default, config.search, **options)
    return MethodResult(name, title, dampings.default, dampings, totals)


def _require_held_out(methods: Sequence[str | Attributor]) -> None:
    """Check that methods exist and can be evaluated, before any work.

    Raises:
        SettingsError: if a method is unknown or cannot predict held-out subsets.
    """
    for method in methods:
        cls = registry.get(method) if isinstance(method, str) else method
        require(
            cls.capabilities.held_out,
            "A method that needs every subset cannot be evaluated on held-out subsets",
            cls.name,
            "Evaluate empirical-influence or a datamodel on random subsets instead.",
        )


def _facts(index: Index, truth: GroundTruth, config: LDSConfig) -> dict[str, Any]:
    subsets, seeds, _ = truth.losses.shape
    return {
        "index": str(index.path),
        "ground_truth": truth.digest(),
        "images": index.n,
        "subsets": subsets,
        "seeds": seeds,
        "settings": to_dict(config),
    }
