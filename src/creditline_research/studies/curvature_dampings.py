"""EK-FAC, TRAK, D-TRAK and the sum at every damping, and how far apart they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from creditline import methods
from creditline.benchmarks.results import read_result, write_result
from creditline.bounds import COUNT, POSITIVE
from creditline.evaluation.lds.config import LDSConfig
from creditline.evaluation.lds.score import compute_difference
from creditline.fingerprint import of_json
from creditline.gradients.preconditioning.settings import DRAWS
from creditline.runtime import Runtime
from creditline.settings import require, setting, to_dict, validate_settings
from creditline_research.studies.damped_scores import RIDGE_METHODS, DampedScores
from creditline_research.studies.subject import Subject

UNROLLED = "unrolled"
FEW = 10
"""Resamples where no interval is shown."""


@dataclass(frozen=True)
class CurvatureStudy:
    """Settings of the study."""

    rhos: tuple[float, ...] = setting(
        (1e-4, 1e-3, 0.01, 0.1, 1.0),
        "dampings of EK-FAC, in units of each layer's mean eigenvalue",
        bounds=POSITIVE,
    )
    ridges: tuple[float, ...] = setting(
        (0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
        "dampings of TRAK and D-TRAK, in units of the mean eigenvalue",
        bounds=POSITIVE,
    )
    weights: tuple[float, ...] = setting(
        (0.5, 1.0, 2.0), "weights of D-TRAK in the sum", bounds=POSITIVE
    )
    draws: int = setting(
        DRAWS, "evaluations of training images in each pass of EK-FAC's fit", bounds=COUNT
    )

    def __post_init__(self) -> None:
        validate_settings(self)


@dataclass(frozen=True)
class DampingRow:
    """LDS of one method at one setting, or the difference between two methods.

    Attributes:
        method: title.
        damping: as text; those of both parts for the sum, then the weight of D-TRAK unless it
            is 1. Empty for a difference.
        transform: of the scores.
        is_default: whether all of it is the method's own.
        lds: by folder of queries: mean and the ends of its interval over subsets.
        is_shown: whether it differs from the method's own by one setting at most. Only these have
            an interval worth showing.
    """

    method: str
    damping: str
    transform: str
    is_default: bool
    lds: dict[str, tuple[float, float, float]]
    is_shown: bool = True


@dataclass(frozen=True)
class DampingResult:
    """All rows of one case at one number of timesteps.

    Attributes:
        case: its name.
        timesteps: per training image.
        subsets: of the ground truth.
        ceilings: LDS of a second set of retrained models, by folder of queries; None where the
            ground truth has one seed.
        rows: of every method.
    """

    case: str
    timesteps: int
    subsets: int
    ceilings: dict[str, float | None]
    rows: tuple[DampingRow, ...]

    @classmethod
    def read(cls, path: str | Path) -> DampingResult:
        """Read what `compare_dampings` wrote.

        Raises:
            DamageError: if the file is damaged.
            SettingsError: if it holds something else.
        """
        values = read_result(Path(path))
        facts = ("case", "timesteps", "subsets", "ceilings", "rows")
        require(
            values.keys() >= set(facts),
            "A result of `creditline research curvature` is needed",
            str(path),
            "Give the files that it names, those in the folder dampings.",
        )
        rows = tuple(
            DampingRow(**{**row, "lds": {k: tuple(v) for k, v in row["lds"].items()}})
            for row in values["rows"]
        )
        return cls(**{name: values[name] for name in facts[:-1]}, rows=rows)


def compare_dampings(
    subject: Subject,
    out: str | Path,
    *,
    settings: CurvatureStudy | None = None,
    timesteps: Sequence[int] = (10,),
    runtime: Runtime | None = None,
    config: LDSConfig | None = None,
    say: Callable[[str], None] = print,
) -> dict[Path, DampingResult]:
    """Judge every damping.

    Args:
        subject: model, images and ground truth.
        out: folder for results.
        settings: the dampings.
        timesteps: per training image.
        runtime: where the model runs, and progress.
        config: resamples and seed of the bootstrap.
        say: receives each line of text for the reader.

    Returns:
        Results by their file, one for each number of timesteps.

    Raises:
        SettingsError: without any timesteps.
    """
    require(len(timesteps) > 0, "timesteps are one or more numbers", timesteps, "Try 10.")
    settings, config, folder = settings or CurvatureStudy(), config or LDSConfig(), Path(out)
    results = {}
    for t in timesteps:
        request = {"timesteps": t, "settings": to_dict(settings), "judged by": subject.key}
        request |= {"resamples": config.resamples, "seed": config.bootstrap_seed}
        path = folder / f"{t}-{of_json(request)[:12]}.json"
        if not path.is_file():
            say(f"explicit gradients at {t} timesteps")
            scores = DampedScores(
                subject, t, settings.draws, folder / "curvature", runtime or Runtime()
            )
            rows = _judge(scores, settings, subject, config)
            subsets = len(subject.truth.masks)
            result = DampingResult(subject.name, t, subsets, subject.ceilings(), tuple(rows))
            write_result(path, asdict(result))
        results[path] = DampingResult.read(path)
    return results


@dataclass(frozen=True)
class _Candidate:
    method: str
    damping: str
    transform: str
    is_default: bool
    is_shown: bool
    scores: Callable[[], np.ndarray]


def _candidates(scores: DampedScores, settings: CurvatureStudy) -> Iterator[_Candidate]:
    """Every setting of every method; of singles the plain and the rectified scores."""
    ekfac: Any = methods.get("ekfac")()
    total: Any = methods.get("combined")()
    rhos: list[float | None] = [*settings.rhos]
    rhos += [None] if scores.knows_training else []
    for rho, transform in product(rhos, ("plain", "rectified")):
        is_plain = transform == "plain"
        yield _Candidate(
            "EK-FAC",
            _rho(rho),
            transform,
            is_plain and rho == ekfac.features.preconditioning.preconditioner_damping,
            is_plain,
            partial(scores.ekfac, rho),
        )
    for name, damping, transform in product(RIDGE_METHODS, settings.ridges, ("plain", "rectified")):
        is_plain = transform == "plain"
        yield _Candidate(
            scores.ridge[name].title,
            f"{damping:g}",
            transform,
            is_plain and damping == scores.ridge[name].ridge.damping,
            is_plain,
            partial(scores.ridge_scores, name, damping),
        )
    for transform, rho, damping, weight in product(
        ("rectified", "plain"), rhos, settings.ridges, settings.weights
    ):
        own = [
            transform == total.score_transform.transform,
            rho == total.features.preconditioning.preconditioner_damping,
            damping == total.ridge.damping,
            weight == total.square_norm_weight,
        ]
        suffix = "" if weight == 1 else f", weight {weight:g}"
        yield _Candidate(
            total.title,
            f"{_rho(rho)}, {damping:g}{suffix}",
            transform,
            all(own),
            sum(own) >= len(own) - 1,
            partial(scores.total, rho, damping, weight),
        )


def _rho(rho: float | None) -> str:
    return UNROLLED if rho is None else f"{rho:g}"


def _judge(
    scores: DampedScores, settings: CurvatureStudy, subject: Subject, config: LDSConfig
) -> list[DampingRow]:
    rows, defaults = [], {}
    for candidate in _candidates(scores, settings):
        values = candidate.scores()
        values = np.maximum(values, 0) if candidate.transform == "rectified" else values
        resamples = config.resamples if candidate.is_shown else min(FEW, config.resamples)
        judged = subject.judge(values, resamples, config.bootstrap_seed)
        if candidate.is_default:
            defaults[candidate.method] = judged
        rows.append(
            DampingRow(
                candidate.method,
                candidate.damping,
                candidate.transform,
                candidate.is_default,
                {folder: (lds.mean, *lds.interval) for folder, lds in judged.items()},
                candidate.is_shown,
            )
        )
    title = methods.get("combined").title
    for method in [method for method in defaults if method != title and title in defaults]:
        differences = {
            folder: compute_difference(defaults[title][folder], defaults[method][folder])
            for folder in subject.queries
        }
        rows.append(
            DampingRow(
                f"{title} less {method}",
                "",
                "",
                True,
                {folder: (d.mean, *d.interval) for folder, d in differences.items()},
            )
        )
    return rows
