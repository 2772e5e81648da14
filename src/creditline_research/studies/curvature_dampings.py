"""EK-FAC, TRAK, D-TRAK and the sum at every damping, and how far apart they are.

Gradients are explicit, and computed once: in EK-FAC's eigenbases another damping is another factor
of each number. Projected features of TRAK and D-TRAK are those of an index.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from creditline import methods
from creditline.benchmarks.build import GENERATED, VALIDATION
from creditline.benchmarks.results import read_result, write_result
from creditline.benchmarks.shipped_benchmark import ShippedBenchmark, digest
from creditline.bounds import POSITIVE
from creditline.data.image_set import ImageSet
from creditline.data.load import load_images
from creditline.diffusion.load import load_model
from creditline.diffusion.training_schedule import training_schedule
from creditline.errors import SettingsError
from creditline.evaluation.explicit_gradients import extract
from creditline.evaluation.lds.config import LDSConfig
from creditline.evaluation.lds.score import LDS, compute_difference, predict_outputs, score_outputs
from creditline.evaluation.truth.ground_truth import GroundTruth
from creditline.features.gradients import GradientExtractor
from creditline.features.unrolled import horizons_at
from creditline.fingerprint import of_json
from creditline.gradients.preconditioning.ekfac import EKFAC
from creditline.gradients.preconditioning.unrolling import response
from creditline.gradients.projection import Projection
from creditline.methods.fit_context import FitContext
from creditline.methods.spread_sum import spread
from creditline.runtime import Runtime
from creditline.settings import override, require, setting, to_dict, validate_settings

RHO, DAMPING = 0.01, 1.0
"""Of EK-FAC and of D-TRAK in the sum."""


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

    def __post_init__(self) -> None:
        validate_settings(self)


@dataclass(frozen=True)
class DampingRow:
    """LDS of one method at one damping, or the difference between two methods.

    Attributes:
        method: title.
        damping: as text.
        is_default: whether it is the method's own.
        lds: by folder of queries: mean and the ends of its interval over subsets.
    """

    method: str
    damping: str
    is_default: bool
    lds: dict[str, tuple[float, float, float]]


def compare_dampings(
    case: ShippedBenchmark,
    out: str | Path,
    *,
    settings: CurvatureStudy | None = None,
    data: Any = None,
    timesteps: Sequence[int] = (10,),
    runtime: Runtime | None = None,
    config: LDSConfig | None = None,
    say: Callable[[str], None] = print,
) -> dict[int, list[DampingRow]]:
    """Judge every damping.

    Args:
        case: the benchmark's files.
        out: folder for results.
        settings: the dampings.
        data: images, where the benchmark does not know them.
        timesteps: per training image.
        runtime: where the model runs, and progress.
        config: resamples and seed of the bootstrap.
        say: receives each line of text for the reader.

    Returns:
        Rows by number of timesteps.

    Raises:
        DataError: if the images are not the benchmark's.
        SettingsError: without any timesteps.
    """
    require(len(timesteps) > 0, "timesteps are one or more numbers", timesteps, "Try 10.")
    settings, config, folder = settings or CurvatureStudy(), config or LDSConfig(), Path(out)
    truth, key = case.truth().complete_subsets(), digest(case)
    results = {}
    for t in timesteps:
        request = {"timesteps": t, "settings": to_dict(settings), "judged by": key}
        request |= {"resamples": config.resamples, "seed": config.bootstrap_seed}
        path = folder / f"{t}-{of_json(request)[:12]}.json"
        if not path.is_file():
            say(f"explicit gradients at {t} timesteps")
            train, validation = case.images(data)
            queries = {VALIDATION: validation, GENERATED: load_images(case.generated)}
            subject = _Scores(case, t, train, queries, folder, runtime or Runtime())
            rows = _judge(subject, settings, truth, config)
            write_result(path, {"rows": [asdict(row) for row in rows]})
        results[t] = [DampingRow(**row) for row in read_result(path)["rows"]]
    return results


class _Scores:
    """Scores of all queries at any damping."""

    def __init__(
        self,
        case: ShippedBenchmark,
        timesteps: int,
        train: ImageSet,
        queries: Mapping[str, ImageSet],
        folder: Path,
        runtime: Runtime,
    ) -> None:
        self.names = {name: list(images.names) for name, images in queries.items()}
        plain = {"timesteps": timesteps, "halves": False}
        self.ridge: dict[str, Any] = {
            name: override(methods.get(name)(), plain) for name in ("trak", "d-trak")
        }
        model = load_model(str(case.model), device=runtime.main_device)

        def features(source: GradientExtractor, label: str) -> tuple[np.ndarray, np.ndarray]:
            source.check(train)
            own = extract(source, train, range(len(train)), "train", f"{label}: train", runtime)
            other = [
                extract(source, some, range(len(some)), "query", f"{label}: {name}", runtime)
                for name, some in queries.items()
            ]
            return own, np.concatenate(other)

        self.projected = {
            name: features(GradientExtractor([model], m.features, m.query_plan), name)
            for name, m in self.ridge.items()
        }
        ekfac: Any = override(methods.get("ekfac")(), {**plain, "bits": 16})
        spec = replace(ekfac.features, projection=Projection("none"))
        source = GradientExtractor([model], spec, ekfac.query_plan)
        source.fit(train, runtime, folder / "curvature")
        curvature = source.states[0].preconditioner
        if not isinstance(curvature, EKFAC):
            raise TypeError(f"EK-FAC expected; got {type(curvature).__name__}")
        self.curvature = curvature
        whitened = features(source, "ekfac")
        scale = torch.cat(self.curvature.scales_).numpy()
        self.rotated = tuple(np.divide(x, scale, out=x, where=scale > 0) for x in whitened)
        self.horizons: list[float] | None = None
        try:
            schedule = training_schedule(str(case.model))
        except SettingsError:
            return
        self.horizons = horizons_at(model, self.curvature, train, spec, schedule)

    def ekfac(self, rho: float | None) -> np.ndarray:
        """Scores at a relative damping; None: the filter of the whole training."""
        factors = []
        for i, values in enumerate(self.curvature.eigenvalues_):
            if not bool((values > 0).any()):
                factors.append(torch.zeros_like(values))
            elif rho is None:
                factors.append(response(values, (self.horizons or [])[i]).float())
            else:
                factors.append(1 / (values + rho * float(values.double().mean())))
        train, query = self.rotated
        return (query * torch.cat(factors).numpy()) @ train.T

    def projected_scores(self, name: str, damping: float | None) -> np.ndarray:
        """Scores of TRAK or D-TRAK; None: at the method's own damping."""
        train, query = self.projected[name]
        method = self.ridge[name]
        if damping is not None:
            method = override(method, {"damping": damping})
        scores: np.ndarray = method.unfitted().fit(FitContext(features=train)).attribute(query)
        return scores

    def total(self, rho: float, damping: float) -> np.ndarray:
        """Rectified scores of the sum."""
        parts = self.ekfac(rho), self.projected_scores("d-trak", damping)
        return np.maximum(sum(part / spread(part) for part in parts), 0)


def _judge(
    scores: _Scores, settings: CurvatureStudy, truth: GroundTruth, config: LDSConfig
) -> list[DampingRow]:
    def lds(values: np.ndarray) -> dict[str, LDS]:
        judged, start = {}, 0
        for folder, names in scores.names.items():
            rows = slice(start, start + len(names))
            judged[folder] = score_outputs(
                predict_outputs(values[rows], truth.masks),
                truth.losses[:, :, rows],
                query_names=names,
                resamples=config.resamples,
                seed=config.bootstrap_seed,
            )
            start += len(names)
        return judged

    ridges = {name: m.ridge.damping for name, m in scores.ridge.items()}
    entries: list[tuple[str, str, bool, dict[str, LDS]]] = []
    entries += [("EK-FAC", f"{rho:g}", rho == RHO, lds(scores.ekfac(rho))) for rho in settings.rhos]
    if scores.horizons is not None:
        entries.append(("EK-FAC", "unrolled", False, lds(scores.ekfac(None))))
    for (name, own), damping in product(ridges.items(), settings.ridges):
        title = scores.ridge[name].title
        entries.append(
            (title, f"{damping:g}", damping == own, lds(scores.projected_scores(name, damping)))
        )
    title = methods.get("combined").title
    for rho in settings.rhos:
        entries.append((title, f"{rho:g}, 1", rho == RHO, lds(scores.total(rho, DAMPING))))
    for damping in settings.ridges:
        if damping != DAMPING:
            entries.append((title, f"0.01, {damping:g}", False, lds(scores.total(RHO, damping))))
    defaults = {method: own for method, _, is_default, own in entries if is_default}
    rows = [
        DampingRow(m, damping, is_default, {f: (s.mean, *s.interval) for f, s in own.items()})
        for m, damping, is_default, own in entries
    ]
    others = [method for method in defaults if method != title]
    for method in others:
        differences = {
            folder: compute_difference(defaults[title][folder], defaults[method][folder])
            for folder in scores.names
        }
        rows.append(
            DampingRow(
                f"{title} less {method}",
                "",
                True,
                {folder: (d.mean, *d.interval) for folder, d in differences.items()},
            )
        )
    return rows
