"""Bilinear methods with ridge curvature."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from creditline.curvature.kernel import MEMORY
from creditline.curvature.ridge import Ridge
from creditline.curvature.variation import require_variation
from creditline.methods.feature_form import FeatureForm
from creditline.methods.fit_context import FitContext
from creditline.methods.gradient_method import GradientMethod
from creditline.settings import group


@dataclass
class RidgeMethod(GradientMethod):
    """Methods of the form `phi_q^T (Phi^T Phi + lambda I)^-1 phi_i`, possibly rescaled.

    Attributes:
        spectra_: spectrum of each model's kernel.
        damping_: absolute damping of each.
        column_scale_: factor of each training image; see `column_scale`.
    """

    capabilities: ClassVar = replace(GradientMethod.capabilities, damped=True)

    ridge: Ridge = group(Ridge, affects="factors")

    def learn(self, context: FitContext) -> None:
        self.spectra_ = list(context.cache.spectra(context, self.ridge.center))
        for spectrum in self.spectra_:
            mean = self.features_.n * float(spectrum.mean @ spectrum.mean)
            require_variation(float(spectrum.eigenvalues.sum()), mean)
        self.damping_ = [self.ridge.absolute(s.eigenvalues) for s in self.spectra_]
        self.column_scale_ = [self.column_scale(c) for c in range(self.features_.models)]

    def model_scores(self, model: int, query: np.ndarray) -> np.ndarray:
        spectrum = self.spectra_[model]
        scores = spectrum.scores(self.features_, model, query, self.damping_[model])
        return scores * self.column_scale_[model]

    def query_factors(self, model: int, query: np.ndarray) -> np.ndarray:
        return query - self.spectra_[model].mean

    def train_factors(
        self, model: int, memory: int = MEMORY, first: int = 0
    ) -> Iterator[tuple[int, np.ndarray]]:
        table, spectrum = self.features_, self.spectra_[model]
        scale = np.broadcast_to(self.column_scale_[model], table.n)
        for start, rows in spectrum.preconditioned(
            table, model, self.damping_[model], memory, first
        ):
            yield start, rows * scale[start : start + len(rows), None]

    def feature_form(self, model: int, factors: np.ndarray) -> FeatureForm:
        spectrum = self.spectra_[model]
        if spectrum.space == "dual":
            return super().feature_form(model, factors)
        weights = spectrum.weights(factors, self.damping_[model])
        return FeatureForm(weights, spectrum.mean, self.column_scale_[model])

    def model_self_scores(self, model: int) -> np.ndarray:
        leverage = self.spectra_[model].quadratic(self.features_, model, self.damping_[model], 1)
        return leverage * self.column_scale_[model]

    def column_scale(self, model: int) -> np.ndarray | float:
        """Factor of each training image, shape `(n,)`, or one for all."""
        return 1.0

    def facts(self) -> Mapping[str, Any]:
        return {"space": self.spectra_[0].space, "absolute damping": list(self.damping_)}
