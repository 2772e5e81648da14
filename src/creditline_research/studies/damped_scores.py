"""Scores of EK-FAC, TRAK, D-TRAK and sums at any damping, from gradients taken once.

Gradients are explicit: in EK-FAC's eigenbases another damping is another factor of each number.
Projected features of TRAK and D-TRAK are those of an index.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from creditline import methods
from creditline.diffusion.load import load_model
from creditline.diffusion.training_schedule import training_schedule
from creditline.errors import SettingsError
from creditline.evaluation.explicit_gradients import extract
from creditline.features.gradients import GradientExtractor
from creditline.features.unrolled import horizons_at
from creditline.gradients.preconditioning.ekfac import EKFAC
from creditline.gradients.preconditioning.unrolling import response
from creditline.gradients.projection import Projection
from creditline.methods.fit_context import FitContext
from creditline.methods.spread_sum import spread
from creditline.runtime import Runtime
from creditline.settings import override
from creditline_research.studies.subject import Subject

RIDGE_METHODS = ("trak", "d-trak")


class DampedScores:
    """Scores of all queries for all training images.

    Args:
        subject: model and images.
        timesteps: per training image.
        draws: evaluations of training images in each pass of EK-FAC's fit.
        folder: for the curvature, which is fitted once.
        runtime: where the model runs.
    """

    def __init__(
        self, subject: Subject, timesteps: int, draws: int, folder: Path, runtime: Runtime
    ) -> None:
        self._known: dict[object, np.ndarray] = {}
        plain = {"timesteps": timesteps, "halves": False}
        self.ridge: dict[str, Any] = {
            name: override(methods.get(name)(), plain) for name in RIDGE_METHODS
        }
        model = load_model(subject.model, device=runtime.main_device)
        train = subject.train

        def features(source: GradientExtractor, label: str) -> tuple[np.ndarray, np.ndarray]:
            source.check(train)
            own = extract(source, train, range(len(train)), "train", f"{label}: train", runtime)
            other = [
                extract(source, some, range(len(some)), "query", f"{label}: {name}", runtime)
                for name, some in subject.queries.items()
            ]
            return own, np.concatenate(other)

        self._projected = {
            name: features(GradientExtractor([model], m.features, m.query_plan), name)
            for name, m in self.ridge.items()
        }
        further = {"bits": 16, "preconditioner_draws": draws}
        ekfac: Any = override(methods.get("ekfac")(), plain | further)
        spec = replace(ekfac.features, projection=Projection("none"))
        source = GradientExtractor([model], spec, ekfac.query_plan)
        source.fit(train, runtime, folder)
        curvature = source.states[0].preconditioner
        if not isinstance(curvature, EKFAC):
            raise TypeError(f"EK-FAC expected; got {type(curvature).__name__}")
        self._curvature = curvature
        whitened = features(source, "ekfac")
        scale = torch.cat(curvature.scales_).numpy()
        self._rotated = tuple(np.divide(x, scale, out=x, where=scale > 0) for x in whitened)
        self._horizons: list[float] | None = None
        try:
            schedule = training_schedule(subject.model)
        except SettingsError:
            return
        self._horizons = horizons_at(model, curvature, train, spec, schedule)

    @property
    def knows_training(self) -> bool:
        """Whether the model's schedule of training is known, which unrolling takes."""
        return self._horizons is not None

    def ekfac(self, rho: float | None) -> np.ndarray:
        """Scores at a relative damping; None: the filter of the whole training."""
        return self._once(("ekfac", rho), lambda: self._ekfac(rho))

    def ridge_scores(self, name: str, damping: float) -> np.ndarray:
        """Scores of TRAK or D-TRAK."""
        return self._once((name, damping), lambda: self._ridge_scores(name, damping))

    def total(self, rho: float | None, damping: float, weight: float) -> np.ndarray:
        """Sum of EK-FAC and D-TRAK, each divided by its spread."""
        loss, square_norm = self.ekfac(rho), self.ridge_scores("d-trak", damping)
        total: np.ndarray = loss / spread(loss) + weight * square_norm / spread(square_norm)
        return total

    def _once(self, key: object, make: Callable[[], np.ndarray]) -> np.ndarray:
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]

    def _ekfac(self, rho: float | None) -> np.ndarray:
        factors = []
        for i, values in enumerate(self._curvature.eigenvalues_):
            if not bool((values > 0).any()):
                factors.append(torch.zeros_like(values))
            elif rho is None:
                factors.append(response(values, (self._horizons or [])[i]).float())
            else:
                factors.append(1 / (values + rho * float(values.double().mean())))
        train, query = self._rotated
        return np.asarray((query * torch.cat(factors).numpy()) @ train.T)

    def _ridge_scores(self, name: str, damping: float) -> np.ndarray:
        train, query = self._projected[name]
        method = override(self.ridge[name], {"damping": damping}).unfitted()
        return np.asarray(method.fit(FitContext(features=train)).attribute(query))
