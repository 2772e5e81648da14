"""The study of scores on a shipped benchmark, group of methods by group."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from creditline.benchmarks.build import GENERATED, VALIDATION
from creditline.benchmarks.group_index import build_group_index
from creditline.benchmarks.groups import method_groups
from creditline.benchmarks.run import contributor_truth, result_path, subset_methods, write_result
from creditline.benchmarks.sampling_runs import sampling_runs
from creditline.benchmarks.shipped import ShippedBenchmark, digest
from creditline.data.load import load_images
from creditline.evaluation.lds.config import LDSConfig
from creditline.runtime import Runtime
from creditline.settings import require, to_dict
from creditline_research.studies.scores import study_scores, study_subset_methods


def study_benchmark(
    shipped: ShippedBenchmark,
    out: str | Path,
    *,
    data: Any = None,
    timesteps: Sequence[int] = (10, 100),
    runtime: Runtime | None = None,
    config: LDSConfig | None = None,
    say: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Judge transforms and splits of every method's scores.

    Indexes are those of `creditline benchmark` in the same folder. Stop it at any moment; the same
    call continues.

    Args:
        shipped: the benchmark's files.
        out: folder for indexes and results.
        data: images, where the benchmark does not know them.
        timesteps: per training image, each with indexes of its own.
        runtime: where and how models run.
        config: resamples and seed of the bootstrap.
        say: receives each line of text for the reader.

    Returns:
        One result per index: timesteps, models, parts (`study_scores`) and, where contributors are
        judged, `"shares"`: their number of subsets and their parts.

    Raises:
        DataError: if the images are not the benchmark's.
        SettingsError: without any timesteps.
    """
    require(len(timesteps) > 0, "timesteps are one or more numbers", timesteps, "Try 10,100.")
    folder, config, runtime = Path(out), config or LDSConfig(), runtime or Runtime()
    train, validation = shipped.images(data)
    truth, shares = shipped.truth(), contributor_truth(shipped, say)
    queries = [(VALIDATION, validation), (GENERATED, load_images(shipped.generated))]
    results = []
    for i, group in enumerate(method_groups(timesteps)):
        names = subset_methods(truth, config, say) if i == 0 else ()
        request = {
            "study": "scores",
            "timesteps": group.timesteps,
            "models": group.models,
            "methods": [*group.methods, *names],
            "judged by": digest(shipped),
            "config": to_dict(config),
        }
        path = result_path(folder / "scores", group, request)
        if not path.is_file():
            say(str(group))
            index, _ = build_group_index(shipped, group, train, folder, runtime=runtime, say=say)
            features: list[Any] = []
            parts = study_scores(index, truth, queries, group.methods, config, features)
            of_subsets = study_subset_methods(truth, queries, names, config)
            for part, further in zip(parts, of_subsets, strict=True):
                part["methods"] += further["methods"]
            if group.trajectory_methods:
                runs = sampling_runs(shipped, folder / "sampled", runtime, say)
                if runs is not None:
                    again, of_runs = runs
                    parts += study_scores(
                        index, of_runs, [(GENERATED, str(again))], group.trajectory_methods, config
                    )
            result: dict[str, Any] = {**request, "parts": parts}
            if shares is not None:
                judged = study_scores(
                    index, shares, queries, group.methods, config, features, splits=False
                )
                subsets = int(shares.finished.all(1).sum())
                result["shares"] = {"subsets": subsets, "parts": judged}
            write_result(path, result)
        results.append(json.loads(path.read_text("utf-8")))
    return results
