"""Running a benchmark: index, score, judge; every method, at every number of timesteps."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from creditline import methods
from creditline.api import index as build_index
from creditline.benchmarks.build import GENERATED, STEPS, VALIDATION, full_model
from creditline.benchmarks.shipped import ShippedBenchmark, digest
from creditline.data.image_set import ImageSet
from creditline.data.load import load_images
from creditline.diffusion.generation import GenerateConfig, generate
from creditline.diffusion.load import load_model
from creditline.evaluation.lds.compare import compare
from creditline.evaluation.lds.comparison import LDSConfig
from creditline.evaluation.lds.folds import has_constant_images
from creditline.evaluation.truth.ground_truth import GroundTruth
from creditline.features.gradients import GradientExtractor
from creditline.files import write_file
from creditline.fingerprint import of_json
from creditline.indexing.index import Index
from creditline.retraining.arrays import MIN_SUBSETS
from creditline.settings import override, require, to_dict

SHARING = (
    ("d-trak", ("d-trak",)),
    (
        "trak",
        (
            *("trak", "relative-if", "renormalized-if"),
            *("gradient-dot", "gradient-cosine", "gradient-centered"),
        ),
    ),
    ("tracin", ("tracin", "gas")),
)
"""Methods by the index that they share."""
ENSEMBLED = ("d-trak", "trak")
ALONG = "journey-trak"
TIMED = 8
ROUNDING = 1
"""Levels of 255 between pictures of the same sampling run on two machines."""
EMPIRICAL = "empirical-influence"
LEARNT = (EMPIRICAL, "datamodel", "datamodel-lasso")


@dataclass(frozen=True)
class BenchmarkResult:
    """Methods on one index, judged.

    Attributes:
        timesteps: per training image.
        models: how many models trained on everything were indexed.
        seconds: CPU seconds of extraction per training image.
        comparison: as `Comparison.to_dict`; parts are validation and generated queries. Under
            `"shares"`, where there is a ground truth of unequal shares, the comparison by that.
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
    workers: int = 1,
    device: str = "cpu",
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
        workers: processes that extract.
        device: where models run.
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
    folder, contest = Path(out), contest or LDSConfig()
    train, validation = shipped.images(data)
    truth, shares, key = shipped.truth(), _shares(shipped, say), digest(shipped)
    generated = load_images(shipped.generated)
    learnt = _learnt(truth, contest, say)
    ensembles = [(name, (name,), ensemble) for name in ENSEMBLED if ensemble > 1]
    results = []
    for t in timesteps:
        for first, names, models in [*((*shared, 1) for shared in SHARING), *ensembles]:
            once = (t, first, models) == (timesteps[0], "trak", 1)
            chosen = [*names, *(learnt if once else ())]
            asked = {
                "timesteps": t,
                "models": models,
                "methods": chosen,
                "judged by": key,
                "contest": to_dict(contest),
            }
            path = folder / f"{first}-{t}-{of_json([*asked.values(), first])[:12]}.json"
            if not path.is_file():
                say(f"{first} at {t} timesteps" + (f", {models} models" if models > 1 else ""))
                paths = _models(shipped, first, models, train, folder, device, say)
                index, seconds = _index(paths, first, t, train, folder, workers, device)
                queries = [(VALIDATION, validation), (GENERATED, generated)]
                extracted: dict[str, list[Any]] = {}
                found = compare(index, truth, queries, chosen, contest, extracted).to_dict()
                if shares is not None:
                    plain = replace(contest, kept=False)
                    totals = compare(index, shares, queries, names, plain, extracted)
                    found["shares"] = totals.to_dict()
                if (first, models) == ("trak", 1):
                    found["parts"] += _along(shipped, index, folder, device, contest, say)
                text = json.dumps({**asked, "seconds": seconds, "comparison": found}, indent=1)
                folder.mkdir(parents=True, exist_ok=True)
                write_file(path, lambda p, text=text: p.write_text(text, "utf-8"))  # type: ignore[misc]
            kept = json.loads(path.read_text("utf-8"))
            results.append(BenchmarkResult(t, models, kept["seconds"], kept["comparison"]))
    return results


def _shares(shipped: ShippedBenchmark, say: Callable[[str], None]) -> GroundTruth | None:
    """The ground truth that totals are judged by, where enough of it is finished."""
    truth = shipped.shares()
    if truth is None:
        return None
    done = int(truth.finished.all(1).sum())
    if done >= MIN_SUBSETS:
        return truth
    say(f"contributors' totals need {MIN_SUBSETS} finished subsets to be judged; there are {done}")
    return None


def _learnt(truth: GroundTruth, contest: LDSConfig, say: Callable[[str], None]) -> tuple[str, ...]:
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


def _models(
    shipped: ShippedBenchmark,
    first: str,
    count: int,
    images: ImageSet,
    folder: Path,
    device: str,
    say: Callable[[str], None],
) -> list[Path]:
    """What is indexed: checkpoints, the model, or the model and further ones."""
    if first == "tracin":
        return list(shipped.checkpoints)
    paths, first_seed = [shipped.model], shipped.benchmark.config.seed
    for seed in range(first_seed + 1, first_seed + count):
        say(f"model {len(paths) + 1} of {count}: {shipped.benchmark.config.steps:,} steps")
        run = full_model(
            shipped.benchmark,
            images,
            folder / "ensemble" / f"seed-{seed}",
            shipped.base,
            seed=seed,
            device=device,
        )
        paths.append(run / "model")
    return paths


def _index(
    paths: Sequence[Path],
    first: str,
    timesteps: int,
    images: ImageSet,
    folder: Path,
    workers: int,
    device: str,
) -> tuple[Index, float]:
    """The index, and the CPU seconds that the feature of one image takes on one thread.

    Without the halves of its noise, which the scores judged here do not need.
    """
    models = [load_model(str(path), device=device) for path in paths]
    method: Any = override(methods.get(first)(), {"timesteps": timesteps})
    index = build_index(
        models,
        images,
        method=method,
        out=folder / f"index-{first}-{timesteps}-{len(paths)}",
        workers=workers,
        device=device,
    )
    source = GradientExtractor(models, method.features)
    source.extract(images, range(1))  # the first one pays for what later ones find ready
    before = time.process_time()
    source.extract(images, range(TIMED))
    return index, (time.process_time() - before) / TIMED


def _along(
    shipped: ShippedBenchmark,
    index: Index,
    folder: Path,
    device: str,
    contest: LDSConfig,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Journey-TRAK on the generated queries, whose sampling runs are drawn once more.

    Runs do not ship. Another processor rounds otherwise, so a pixel may come out a level lighter or
    darker; where it draws other pictures than that, there is nothing to judge by, which is said.
    """
    count = shipped.benchmark.generated
    again = generate(
        shipped.model,
        count,
        folder / "sampled",
        GenerateConfig(steps=STEPS, trajectory=True),
        device=device,
    )
    shown, drawn = load_images(shipped.generated), load_images(again)
    apart = np.abs(drawn.array().astype(int) - shown.array()).max()
    if apart > ROUNDING:
        say(
            f"{ALONG} is left out: this machine draws other pictures from the same seeds, "
            f"up to {apart} levels apart"
        )
        return []
    truth = replace(shipped.truth().of_folder(GENERATED), query_ids=drawn.ids)
    found = compare(index, truth, [(GENERATED, str(again))], [ALONG], contest)
    return [{**part, "name": f"{part['name']}, {ALONG}"} for part in found.to_dict()["parts"]]
