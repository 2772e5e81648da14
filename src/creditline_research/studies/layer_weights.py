"""Learned weights of layers beside the same methods without them, judged on one index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from creditline.api import index as build_index
from creditline.benchmarks.results import read_result, write_result
from creditline.evaluation.lds.config import LDSConfig
from creditline.evaluation.lds.score import compute_difference
from creditline.fingerprint import of_json
from creditline.indexing.index import Index
from creditline.methods.learned_weights import LearnedWeights
from creditline.runtime import Runtime
from creditline.settings import override, require, to_dict
from creditline_research.studies.subject import Subject

Interval = tuple[float, float, float]


@dataclass(frozen=True)
class LayerWeightRow:
    """One method with and without learned weights.

    Attributes:
        base: title of the method without them.
        timesteps: per training image.
        weights: facts about the weights; see `LearnedWeights.facts`.
        learned, equal, gain: LDS with the weights and without, and their paired difference, by
            folder of queries: mean and the ends of its interval over subsets.
    """

    base: str
    timesteps: int
    weights: dict[str, Any]
    learned: dict[str, Interval]
    equal: dict[str, Interval]
    gain: dict[str, Interval]


def compare_layer_weights(
    subject: Subject,
    out: str | Path,
    methods: Sequence[LearnedWeights],
    *,
    timesteps: Sequence[int] = (10,),
    runtime: Runtime | None = None,
    config: LDSConfig | None = None,
    say: Callable[[str], None] = print,
) -> list[LayerWeightRow]:
    """Judge methods with and without learned weights.

    Interrupt it at any time; the same call continues.

    Args:
        subject: model, images and ground truth.
        out: folder for indexes and results.
        methods: with learned weights, of different bases.
        timesteps: per training image.
        runtime: where the model runs, and progress.
        config: resamples and seed of the bootstrap.
        say: receives each line of text for the reader.

    Raises:
        SettingsError: without any timesteps.
    """
    require(len(timesteps) > 0, "timesteps are one or more numbers", timesteps, "Try 10.")
    config, folder, rows = config or LDSConfig(), Path(out), []
    for t, own in product(timesteps, methods):
        method = override(own, {"timesteps": t})
        request = {
            "method": to_dict(method),
            "judged by": subject.key,
            "resamples": config.resamples,
            "seed": config.bootstrap_seed,
        }
        name = f"{method.base}-{t}"
        path = folder / f"{name}-{of_json(request)[:12]}.json"
        if not path.is_file():
            say(f"{method.base} at {t} timesteps")
            index = build_index(
                subject.model,
                subject.train,
                method=method,
                out=folder / f"index-{name}",
                curvature=folder / "curvature" if method.base == "ekfac" else None,
                runtime=runtime or Runtime(),
            )
            write_result(path, asdict(_judge(index, method, subject, config)))
        rows.append(LayerWeightRow(**read_result(path)))
    return rows


def _judge(
    index: Index, method: LearnedWeights, subject: Subject, config: LDSConfig
) -> LayerWeightRow:
    base = method.base_method()
    features = [index.extract(images) for images in subject.queries.values()]
    learned, equal = (
        subject.judge(
            np.concatenate([index.using(one).scores(own) for own in features]),
            config.resamples,
            config.bootstrap_seed,
        )
        for one in (method, base)
    )
    gains = {name: compute_difference(learned[name], equal[name]) for name in subject.queries}
    facts = index.trace(features[0], top=1).settings["curvature"]
    return LayerWeightRow(
        base.title,
        method.features.plan.timesteps,
        dict(facts),
        *(
            {name: (one.mean, *one.interval) for name, one in part.items()}
            for part in (learned, equal, gains)
        ),
    )
