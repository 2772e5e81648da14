"""Projections compared at equal k: what each loses of whole gradients, and of their LDS.

Whole gradients of all images are taken once per method and number of timesteps; every projection is
made out of these. They are held in memory: 4 bytes for each image and parameter.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from creditline import methods
from creditline.benchmarks.build import GENERATED, VALIDATION
from creditline.benchmarks.projections import ProjectionRow, ProjectionStudy, described
from creditline.benchmarks.shipped import ShippedBenchmark, digest
from creditline.data.image_set import ImageSet
from creditline.data.load import load_images
from creditline.diffusion.load import load_model
from creditline.evaluation.lds.comparison import LDSConfig
from creditline.evaluation.lds.score import predict_outputs, score_outputs
from creditline.evaluation.truth.ground_truth import GroundTruth
from creditline.evaluation.whole import extract, project
from creditline.features.gradients import GradientExtractor
from creditline.files import write_file
from creditline.fingerprint import of_json
from creditline.gradients.parameters import select
from creditline.gradients.projection import Projection, dimension
from creditline.gradients.projection.base import projected_sizes
from creditline.methods.base import RidgeMethod
from creditline.runtime.threads import single_thread
from creditline.settings import override, require, to_dict

METHODS = ("trak", "d-trak")


def compare_projections(
    shipped: ShippedBenchmark,
    out: str | Path,
    *,
    settings: ProjectionStudy | None = None,
    data: Any = None,
    timesteps: Sequence[int] = (10,),
    device: str = "cpu",
    contest: LDSConfig | None = None,
    say: Callable[[str], None] = print,
) -> list[ProjectionRow]:
    """TRAK and D-TRAK at their own settings, through every projection.

    Stop it at any moment; the same call continues.

    Args:
        shipped: the benchmark's files.
        out: folder for results.
        settings: which projections.
        data: images, where the benchmark does not know them.
        timesteps: per training image.
        device: where the model runs.
        contest: how to judge; dampings and shapes are the methods' own.
        say: receives each line of text for the reader.

    Raises:
        DataError: if the images are not the benchmark's.
        SettingsError: on an unknown projection, a dimension that a layer leaves no room for, or
            without any timesteps.
    """
    require(len(timesteps) > 0, "timesteps are one or more numbers", timesteps, "Try 10.")
    settings, contest, folder = settings or ProjectionStudy(), contest or LDSConfig(), Path(out)
    chosen = list(settings.each())
    layers = select(load_model(str(shipped.model)).module)
    for projection in chosen:
        dimension(projection, layers)
    train, validation = shipped.images(data)
    queries = {VALIDATION: validation, GENERATED: load_images(shipped.generated)}
    truth, key = shipped.truth().complete_subsets(), digest(shipped)
    rows = []
    for t, name in product(timesteps, METHODS):
        asked = [
            {"timesteps": t, "method": name, "projection": to_dict(p), "judged by": key}
            | {"resamples": contest.resamples, "seed": contest.bootstrap_seed}
            for p in chosen
        ]
        paths = [folder / f"{name}-{t}-{of_json(one)[:12]}.json" for one in asked]
        if not all(path.is_file() for path in paths):
            say(f"{name} at {t} timesteps: whole gradients")
            whole = _IdentityProjector(shipped, name, t, train, queries, device)
            for projection, path in zip(chosen, paths, strict=True):
                if not path.is_file():
                    say(f"{name} at {t} timesteps: {described(projection)}")
                    row = whole.through(projection, truth, contest)
                    text = json.dumps(asdict(row), indent=1)
                    folder.mkdir(parents=True, exist_ok=True)
                    write_file(path, lambda p, text=text: p.write_text(text, "utf-8"))  # type: ignore[misc]
        rows += [ProjectionRow(**json.loads(path.read_text("utf-8"))) for path in paths]
    return rows


class _IdentityProjector:
    """Whole gradients of all images under one method, and the scores that they give."""

    def __init__(
        self,
        shipped: ShippedBenchmark,
        name: str,
        timesteps: int,
        train: ImageSet,
        queries: dict[str, ImageSet],
        device: str,
    ) -> None:
        plain = {"timesteps": timesteps, "projection": "none", "halves": False}
        method: Any = override(methods.get(name)(), plain)
        model = load_model(str(shipped.model), device=device)
        source = GradientExtractor([model], method.features, method.query_plan)
        source.check(train)
        self.layers = source.layers
        self.method: RidgeMethod = method
        self.timesteps = timesteps
        self.train = extract(source, train, range(len(train)), "train", "train")
        self.query = np.concatenate(
            [extract(source, q, range(len(q)), "query", name) for name, q in queries.items()]
        )
        self.names = {folder: list(images.names) for folder, images in queries.items()}
        self.exact = self._scores(self.train, self.query)

    def through(
        self, projection: Projection, truth: GroundTruth, contest: LDSConfig
    ) -> ProjectionRow:
        scores = self.exact
        if projection.projection != "none":
            with single_thread():
                scores = self._scores(*project(self.layers, projection, self.train, self.query))
        found = [spearmanr(a, b).statistic for a, b in zip(scores, self.exact, strict=True)]
        lds, start = {}, 0
        for folder, names in self.names.items():
            rows = slice(start, start + len(names))
            judged = score_outputs(
                predict_outputs(self.method.score_shape.apply(scores[rows]), truth.masks),
                truth.losses[:, :, rows],
                query_names=names,
                resamples=contest.resamples,
                seed=contest.bootstrap_seed,
            )
            lds[folder] = (judged.mean, *judged.interval)
            start += len(names)
        kept = {**to_dict(projection), "kept": sum(projected_sizes(projection, self.layers))}
        return ProjectionRow(self.method.title, self.timesteps, kept, float(np.mean(found)), lds)

    def _scores(self, train: np.ndarray, query: np.ndarray) -> np.ndarray:
        return self.method.unfitted().fit(train).attribute(query)
