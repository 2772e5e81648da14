"""Judge every method on a benchmark: index, score, compare with the ground truth."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from creditline.benchmarks.build import GENERATED, VALIDATION
from creditline.benchmarks.group_index import build_group_index
from creditline.benchmarks.groups import MethodGroup, method_groups
from creditline.benchmarks.sampling_runs import sampling_runs
from creditline.benchmarks.shipped import ShippedBenchmark, digest
from creditline.data.load import load_images
from creditline.evaluation.lds.compare import compare_methods
from creditline.evaluation.lds.config import LDSConfig
from creditline.evaluation.lds.folds import has_constant_images
from creditline.evaluation.truth.ground_truth import GroundTruth
from creditline.files import write_file
from creditline.fingerprint import of_json
from creditline.methods.subset_losses import MIN_SUBSETS
from creditline.runtime import Runtime
from creditline.settings import require, to_dict

EMPIRICAL = "empirical-influence"
LEARNT = (EMPIRICAL, "datamodel", "datamodel-lasso")


@dataclass(frozen=True)
class BenchmarkResult:
    """Methods on one index, judged.

    Attributes:
        timesteps: per training image.
        models: number of indexed models that are trained on everything.
        seconds: CPU seconds of extraction per training image.
        comparison: as `Comparison.to_dict`; its parts are validation and generated queries. Under
            `"shares"`, where there is a ground truth of unequal shares, the comparison with it.
    """

    timesteps: int
    models: int
    seconds: float
    comparison: dict[str, Any]


def run(
    shipped: ShippedBenchmark,
    out: str | Path,
    *,
    data: Any = None,
    timesteps: Sequence[int] = (10, 100),
    ensemble: int = 1,
    runtime: Runtime | None = None,
    contest: LDSConfig | None = None,
    say: Callable[[str], None] = print,
) -> list[BenchmarkResult]:
    """Judge every method by the benchmark's ground truth.

    Stop it at any moment; the same call continues.

    Args:
        shipped: the benchmark's files.
        out: folder for indexes and results.
        data: images, where the benchmark does not know them.
        timesteps: per training image, each with indexes of its own.
        ensemble: models of the D-TRAK and TRAK that are judged beside those of one model. All but
            the first are trained here, in `out`, from the seeds that follow.
        runtime: where and how models run.
        contest: how to judge.
        say: receives each line of text for the reader.

    Returns:
        One result per index and number of timesteps.

    Raises:
        DataError: if the images are not the benchmark's.
        SettingsError: without any timesteps, or without a model.
    """
    require(len(timesteps) > 0, "timesteps are one or more numbers", timesteps, "Try 10,100.")
    require(ensemble >= 1, "ensemble must be at least 1", ensemble, "Try 3.")
    folder, contest, runtime = Path(out), contest or LDSConfig(), runtime or Runtime()
    train, validation = shipped.images(data)
    truth, shares, key = shipped.truth(), contributor_truth(shipped, say), digest(shipped)
    queries = [(VALIDATION, validation), (GENERATED, load_images(shipped.generated))]
    learnt = subset_methods(truth, contest, say)
    results = []
    for i, group in enumerate(method_groups(timesteps, ensemble)):
        names = [*group.methods, *(learnt if i == 0 else ())]
        request = {
            "timesteps": group.timesteps,
            "models": group.models,
            "methods": names,
            "judged by": key,
            "contest": to_dict(contest),
        }
        path = result_path(folder, group, request)
        if not path.is_file():
            say(str(group))
            index, seconds = build_group_index(
                shipped, group, train, folder, runtime=runtime, say=say
            )
            extracted: dict[str, list[Any]] = {}
            comparison = compare_methods(index, truth, queries, names, contest, extracted).to_dict()
            if shares is not None:
                totals = compare_methods(index, shares, queries, group.methods, contest, extracted)
                comparison["shares"] = totals.to_dict()
            if group.trajectory_methods:
                runs = sampling_runs(shipped, folder / "sampled", runtime, say)
                if runs is not None:
                    again, of_runs = runs
                    along = group.trajectory_methods
                    judged = compare_methods(
                        index, of_runs, [(GENERATED, str(again))], along, contest
                    )
                    comparison["groups"] += [
                        {**part, "name": f"{part['name']}, sampling runs"}
                        for part in judged.to_dict()["groups"]
                    ]
            write_result(path, {**request, "seconds": seconds, "comparison": comparison})
        values = json.loads(path.read_text("utf-8"))
        results.append(
            BenchmarkResult(group.timesteps, group.models, values["seconds"], values["comparison"])
        )
    return results


def result_path(folder: Path, group: MethodGroup, request: dict[str, Any]) -> Path:
    """File of a group's result, which another request does not share."""
    return folder / f"{group.methods[0]}-{group.timesteps}-{of_json(request)[:12]}.json"


def write_result(path: Path, values: dict[str, Any]) -> None:
    """Write a result as JSON."""
    text = json.dumps(values, indent=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, lambda p: p.write_text(text, "utf-8"))


def contributor_truth(shipped: ShippedBenchmark, say: Callable[[str], None]) -> GroundTruth | None:
    """The ground truth that totals are judged by, where enough of it is finished."""
    truth = shipped.share_truth()
    if truth is None:
        return None
    done = int(truth.finished.all(1).sum())
    if done >= MIN_SUBSETS:
        return truth
    say(f"contributors' totals need {MIN_SUBSETS} finished subsets to be judged; there are {done}")
    return None


def subset_methods(
    truth: GroundTruth, contest: LDSConfig, say: Callable[[str], None]
) -> tuple[str, ...]:
    """The methods that can learn from what is finished of the ground truth."""
    done = truth.masks[truth.finished.all(1)]
    if len(done) < 2 * MIN_SUBSETS:
        few = f"{2 * MIN_SUBSETS} finished subsets to learn from; there are {len(done)}"
        say(f"{', '.join(LEARNT)} need {few}")
        return ()
    if not has_constant_images(done, contest.bootstrap_seed):
        return LEARNT
    say(
        f"{EMPIRICAL} is left out: some image is in all or none of the subsets to learn from; "
        f"{len(done)} are finished"
    )
    return tuple(name for name in LEARNT if name != EMPIRICAL)
