"""The study of scores on a shipped benchmark, group of methods by group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from creditline import methods
from creditline.benchmarks.build import GENERATED
from creditline.benchmarks.group_index import build_group_index
from creditline.benchmarks.groups import MethodGroup, judgeable_methods, method_groups
from creditline.benchmarks.results import read_result, result_path, write_result
from creditline.benchmarks.run import contributor_truth
from creditline.benchmarks.sampling_runs import sampling_runs
from creditline.benchmarks.shipped_benchmark import ShippedBenchmark, digest
from creditline.data.image_set import ImageSet
from creditline.errors import DataError, SettingsError
from creditline.evaluation.lds.config import LDSConfig
from creditline.evaluation.truth.ground_truth import GroundTruth
from creditline.runtime import Runtime
from creditline.settings import require, to_dict
from creditline_research.studies.scores import Queries, study_scores, study_subset_methods


def study_benchmark(
    case: ShippedBenchmark,
    out: str | Path,
    *,
    names: Sequence[str] = (),
    data: Any = None,
    timesteps: Sequence[int] = (10, 100),
    runtime: Runtime | None = None,
    config: LDSConfig | None = None,
    say: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Judge transforms and splits of the scores of gradient and subset methods.

    Indexes are those of `creditline benchmark` in the same folder. Interrupt it at any time; the
    same call continues.

    Args:
        case: the benchmark's files.
        out: folder for indexes and results.
        names: methods; by default every registered gradient and subset method.
        data: images, where the benchmark has no source.
        timesteps: per training image, each with indexes of its own.
        runtime: where and how models run.
        config: resamples and seed of the bootstrap.
        say: receives each line of progress.

    Returns:
        One result per index: timesteps, models, groups (`study_scores`) and, where contributors are
        judged, `"shares"`: their number of subsets and their groups.

    Raises:
        DataError: if the images are not the benchmark's.
        SettingsError: on an unknown method, or without any timesteps.
    """
    require(len(timesteps) > 0, "timesteps are one or more numbers", timesteps, "Try 10,100.")
    folder, config, runtime = Path(out), config or LDSConfig(), runtime or Runtime()
    train, validation = case.images(data)
    shares = contributor_truth(case, say)
    queries = case.query_sets(train, validation)
    selected = [methods.get(name)() for name in names] or judgeable_methods()
    kinds = [m for m in selected if m.capabilities.features == "gradients"]
    kinds += [m for m in selected if m.capabilities.kind == "subset"]
    results = []
    for group in method_groups(kinds, timesteps):
        request = {
            "study": "scores",
            "timesteps": group.timesteps,
            "models": group.models,
            "methods": [m.name for m in (*group.methods, *group.trajectory_methods)],
            "judged by": digest(case),
            "config": to_dict(config),
        }
        path = result_path(folder / "scores", group, request)
        if not path.is_file():
            say(str(group))
            if group.timesteps is None:
                study = {"groups": _subset_parts(case.truth(), queries, group, config, say)}
            else:
                study = _study_group(
                    case, group, train, queries, shares, config, folder, runtime, say
                )
            write_result(path, {**request, **study})
        results.append(read_result(path))
    return results


def _study_group(
    case: ShippedBenchmark,
    group: MethodGroup,
    train: ImageSet,
    queries: Queries,
    shares: GroundTruth | None,
    config: LDSConfig,
    folder: Path,
    runtime: Runtime,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Judge the scores of the gradient methods that share an index."""
    index, _ = build_group_index(case, group, train, folder, runtime=runtime, say=say)
    features: list[Any] = []
    parts: list[dict[str, Any]] = []
    study: dict[str, Any] = {"groups": parts}
    if group.methods:
        parts += study_scores(index, case.truth(), queries, group.methods, config, features)
    if group.trajectory_methods:
        runs = sampling_runs(case, folder / "sampled", runtime, say)
        if runs is not None:
            images, truth = runs
            on_runs = [(GENERATED, str(images))]
            parts += study_scores(index, truth, on_runs, group.trajectory_methods, config)
    if shares is not None and group.methods:
        judged = study_scores(index, shares, queries, group.methods, config, features, splits=False)
        study["shares"] = {"subsets": int(shares.finished.all(1).sum()), "groups": judged}
    return study


def _subset_parts(
    truth: GroundTruth,
    queries: Queries,
    group: MethodGroup,
    config: LDSConfig,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Judge the scores of subset methods; those that cannot learn from the subsets are left out."""
    parts = study_subset_methods(truth, queries, (), config)
    for method in group.methods:
        try:
            own = study_subset_methods(truth, queries, [method], config)  # type: ignore[list-item]
        except (DataError, SettingsError) as error:
            say(f"{method.name} is left out: {error}")
        else:
            for part, further in zip(parts, own, strict=True):
                part["methods"] += further["methods"]
    return parts
