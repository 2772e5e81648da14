"""Judge methods on a benchmark: index, score, compare with the ground truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from creditline import methods
from creditline.benchmarks.build import GENERATED
from creditline.benchmarks.group_index import build_group_index
from creditline.benchmarks.groups import MethodGroup, judgeable_methods, method_groups
from creditline.benchmarks.results import BenchmarkResult, read_result, result_path, write_result
from creditline.benchmarks.sampling_runs import sampling_runs
from creditline.benchmarks.shipped_benchmark import ShippedBenchmark, digest
from creditline.errors import DataError, SettingsError
from creditline.evaluation.lds.compare import compare_methods
from creditline.evaluation.lds.config import LDSConfig
from creditline.evaluation.truth.ground_truth import GroundTruth
from creditline.indexing.index import Index
from creditline.methods.attributor import Attributor
from creditline.methods.subset_losses import MIN_SUBSETS
from creditline.runtime import Runtime
from creditline.settings import describe, require, to_dict

Queries = Sequence[tuple[str, Any]]


def run(
    case: ShippedBenchmark,
    out: str | Path,
    *,
    names: Sequence[str | Attributor] = (),
    data: Any = None,
    timesteps: Sequence[int] = (10, 100),
    ensemble: int = 1,
    runtime: Runtime | None = None,
    config: LDSConfig | None = None,
    say: Callable[[str], None] = print,
) -> list[BenchmarkResult]:
    """Judge methods by the benchmark's ground truth.

    Interrupt it at any time; the same call continues.

    Args:
        case: the benchmark's files.
        out: folder for indexes and results.
        names: methods by name, `package.module:Class` or as instances, of any kind; by default
            every registered method that needs no further input.
        data: images, where the benchmark has no source.
        timesteps: per training image, each with indexes of its own.
        ensemble: number of models of which methods at the final model are judged as well. All but
            the first are trained here, in `out`, from the seeds that follow.
        runtime: where and how models run.
        config: resamples of the bootstrap and the search for a damping.
        say: receives each line of progress.

    Returns:
        One result per index and number of timesteps.

    Raises:
        DataError: if the images are not the benchmark's.
        SettingsError: on an unknown method, without any timesteps, or without a model.
    """
    require(len(timesteps) > 0, "timesteps are one or more numbers", timesteps, "Try 10,100.")
    require(ensemble >= 1, "ensemble must be at least 1", ensemble, "Try 3.")
    selected = [methods.get(m)() if isinstance(m, str) else m for m in names]
    folder, config, runtime = Path(out), config or LDSConfig(), runtime or Runtime()
    train, validation = case.images(data)
    shares, key = contributor_truth(case, say), digest(case)
    queries = case.query_sets(train, validation)
    results = []
    for group in method_groups(selected or judgeable_methods(), timesteps, ensemble):
        request = {
            "timesteps": group.timesteps,
            "models": group.models,
            "methods": [_description(m) for m in (*group.methods, *group.trajectory_methods)],
            "judged by": key,
            "config": to_dict(config),
        }
        path = result_path(folder, group, request)
        if not path.is_file():
            say(str(group))
            index, seconds = build_group_index(case, group, train, folder, runtime=runtime, say=say)
            comparison = _judge_group(
                index, group, case, shares, queries, config, folder, runtime, say
            )
            write_result(path, {**request, "seconds": seconds, "comparison": comparison})
        values = read_result(path)
        results.append(
            BenchmarkResult(group.timesteps, group.models, values["seconds"], values["comparison"])
        )
    return results


def contributor_truth(case: ShippedBenchmark, say: Callable[[str], None]) -> GroundTruth | None:
    """Read the ground truth that totals are judged by, where enough of it is finished."""
    truth = case.share_truth()
    if truth is None:
        return None
    done = int(truth.finished.all(1).sum())
    if done >= MIN_SUBSETS:
        return truth
    say(f"contributors' totals need {MIN_SUBSETS} finished subsets to be judged; there are {done}")
    return None


def _judge_group(
    index: Index,
    group: MethodGroup,
    case: ShippedBenchmark,
    shares: GroundTruth | None,
    queries: Queries,
    config: LDSConfig,
    folder: Path,
    runtime: Runtime,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Compare the methods of one index with every ground truth."""
    truth, extracted = case.truth(), {}  # type: tuple[GroundTruth, dict[str, list[Any]]]
    on_features = [m for m in group.methods if m.capabilities.kind != "subset"]
    comparisons = []
    if on_features:
        comparisons.append(compare_methods(index, truth, queries, on_features, config, extracted))
    for method in group.methods:
        if method.capabilities.kind == "subset":
            try:
                comparisons.append(compare_methods(index, truth, queries, [method], config))
            except (DataError, SettingsError) as error:
                say(f"{method.name} is left out: {error}")
    names = {m.name for m in (*group.methods, *group.trajectory_methods)}
    on_index = names if group.timesteps is not None else set()
    merged = _merged([c.to_dict() for c in comparisons], on_index)
    if shares is not None and on_features:
        totals = compare_methods(index, shares, queries, on_features, config, extracted)
        merged["shares"] = _merged([totals.to_dict()], on_index)
    if group.trajectory_methods:
        runs = sampling_runs(case, folder / "sampled", runtime, say)
        if runs is not None:
            images, truth_of_runs = runs
            judged = compare_methods(
                index, truth_of_runs, [(GENERATED, str(images))], group.trajectory_methods, config
            )
            along = _merged([judged.to_dict()], on_index)
            parts = [{**p, "name": f"{p['name']}, sampling runs"} for p in along["groups"]]
            merged = {**along, **merged, "groups": [*merged.get("groups", []), *parts]}
    return merged


def _merged(comparisons: Sequence[dict[str, Any]], on_index: set[str]) -> dict[str, Any]:
    """Merge comparisons of several methods with the same ground truth and queries."""
    if not comparisons:
        return {"groups": []}
    first, *others = comparisons
    for part in first["groups"]:
        for other in others:
            (same,) = (p for p in other["groups"] if p["name"] == part["name"])
            known = {entry["method"] for entry in part["methods"]}
            part["methods"] += [e for e in same["methods"] if e["method"] not in known]
        for entry in part["methods"]:
            entry["uses_index"] = entry["method"] in on_index
    return first


def _description(method: Attributor) -> dict[str, Any]:
    return {"name": methods.reference(method), "settings": describe(method)}
