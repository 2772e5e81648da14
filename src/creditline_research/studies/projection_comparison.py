"""Projections compared at equal k: agreement with explicit gradients, and LDS.

Explicit gradients of all images are computed once per method and number of timesteps. Every
projection is computed from these. They are held in memory: 4 bytes for each image and parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from creditline import methods
from creditline.benchmarks.results import read_result, write_result
from creditline.benchmarks.shipped_benchmark import ShippedBenchmark
from creditline.diffusion.load import load_model
from creditline.evaluation.explicit_gradients import extract, project, store
from creditline.evaluation.lds.config import LDSConfig
from creditline.features.gradients import GradientExtractor
from creditline.fingerprint import of_json
from creditline.gradients.parameters import select_layers
from creditline.gradients.projection import Projection
from creditline.gradients.projection.layout import feature_dim
from creditline.methods.bilinear import BilinearAttributor
from creditline.methods.fit_context import FitContext
from creditline.runtime import Runtime
from creditline.runtime.threads import single_thread
from creditline.settings import override, require, to_dict
from creditline_research.studies.projections import (
    EXPLICIT,
    ProjectionRow,
    ProjectionStudy,
    describe,
)
from creditline_research.studies.subject import Subject


def compare_projections(
    case: ShippedBenchmark,
    out: str | Path,
    *,
    settings: ProjectionStudy | None = None,
    data: Any = None,
    timesteps: Sequence[int] = (10,),
    runtime: Runtime | None = None,
    config: LDSConfig | None = None,
    say: Callable[[str], None] = print,
) -> list[ProjectionRow]:
    """Methods at their own settings, through every projection, stored in some bits.

    Stop it at any moment; the same call continues.

    Args:
        case: the benchmark's files.
        out: folder for results.
        settings: which projections.
        data: images, where the benchmark does not know them.
        timesteps: per training image.
        runtime: where the model runs, and progress.
        config: resamples and seed of the bootstrap; damping and score transform are the
            methods' own.
        say: receives each line of text for the reader.

    Raises:
        DataError: if the images are not the benchmark's.
        SettingsError: on an unknown projection, a dimension larger than the layers allow, or
            without any timesteps.
    """
    require(len(timesteps) > 0, "timesteps are one or more numbers", timesteps, "Try 10.")
    settings, config, folder = settings or ProjectionStudy(), config or LDSConfig(), Path(out)
    projections = list(settings.each())
    layers = select_layers(load_model(str(case.model)).module)
    for projection, _ in projections:
        feature_dim(projection, layers)
    subject = Subject.of_benchmark(case, data)
    rows = []
    for t, name in product(timesteps, settings.methods):
        requests = [
            {"timesteps": t, "method": name, "projection": to_dict(p), "bits": bits}
            | {
                "judged by": subject.key,
                "resamples": config.resamples,
                "seed": config.bootstrap_seed,
            }
            for p, bits in projections
        ]
        paths = [folder / f"{name}-{t}-{of_json(request)[:12]}.json" for request in requests]
        if not all(path.is_file() for path in paths):
            say(f"{name} at {t} timesteps: explicit gradients")
            gradients = _ExplicitGradients(subject, name, t, runtime or Runtime())
            for (projection, bits), path in zip(projections, paths, strict=True):
                if not path.is_file():
                    say(f"{name} at {t} timesteps: {describe(projection, bits)}")
                    row = gradients.through(projection, bits, config)
                    write_result(path, asdict(row))
        rows += [ProjectionRow(**read_result(path)) for path in paths]
    return rows


class _ExplicitGradients:
    """Explicit gradients of all images under one method, and their scores."""

    def __init__(self, subject: Subject, name: str, timesteps: int, runtime: Runtime) -> None:
        self.subject, train = subject, subject.train
        plain = {"timesteps": timesteps, "halves": False, "bits": 16}
        method: Any = methods.get(name)()
        method = replace(method, features=replace(method.features, projection=EXPLICIT))
        method = override(method, plain)
        model = load_model(subject.model, device=runtime.main_device)
        source = GradientExtractor([model], method.features, method.query_plan)
        source.check(train)
        source.fit(train, runtime)
        self.layers = source.layers
        self.method: BilinearAttributor = method
        self.timesteps = timesteps
        self.train = extract(source, train, range(len(train)), "train", "train", runtime)
        self.query = np.concatenate(
            [
                extract(source, q, range(len(q)), "query", name, runtime)
                for name, q in subject.queries.items()
            ]
        )
        self.exact = self._scores(self.train, self.query)

    def through(self, projection: Projection, bits: int, config: LDSConfig) -> ProjectionRow:
        """Project the gradients, store those of training images, and judge the scores."""
        scores = self.exact
        if projection.projection != "none":
            with single_thread():
                train, query = project(self.layers, projection, self.train, self.query)
                scores = self._scores(*store(train, query, bits, projection.projection_seed))
        agreement = [spearmanr(a, b).statistic for a, b in zip(scores, self.exact, strict=True)]
        transformed = self.method.score_transform.apply(scores)
        judged = self.subject.judge(transformed, config.resamples, config.bootstrap_seed)
        lds = {folder: (score.mean, *score.interval) for folder, score in judged.items()}
        sizes = projection.projector.input_sizes(projection, self.layers)
        settings = {**to_dict(projection), "size": sum(sizes)}
        return ProjectionRow(
            self.method.title, self.timesteps, settings, bits, float(np.mean(agreement)), lds
        )

    def _scores(self, train: np.ndarray, query: np.ndarray) -> np.ndarray:
        return self.method.unfitted().fit(FitContext(features=train)).attribute(query)
