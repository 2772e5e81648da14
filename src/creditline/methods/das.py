"""DAS, the diffusion attribution score: Lin, Tao, Dong and Xu, "Diffusion Attribution Score:
Evaluating Training Data Influence in Diffusion Models" (ICLR 2025).

    score(q, i) = phi_q^T (Phi^T Phi + lambda I)^-1 phi_i  r_i / (1 - h_i)
    phi = P mean_t g_t / |g_t|,   g_t = grad mean(eps_theta)
    h_i = phi_i^T (Phi^T Phi + lambda I)^-1 phi_i,   r_i = mean_t |eps_theta - eps|

What changes at the query is the network's output, not its loss: the effect of a Newton step that
leaves image `i` out, with its residual `r_i` and its leverage `h_i`. The paper takes the square of
this, which is the score transform here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from creditline.curvature.kernel import MEMORY
from creditline.curvature.ridge import Ridge
from creditline.gradients.objective import Objective
from creditline.gradients.spec import FeatureSpec
from creditline.methods.bilinear import BilinearAttributor
from creditline.methods.fit_context import FitContext
from creditline.methods.gradient_method import GradientMethod
from creditline.methods.leverage_ridge import LeverageRidge
from creditline.methods.method_sum import MethodSum
from creditline.methods.residuals import Residuals
from creditline.settings import group, setting

OUTPUT, RESIDUAL = "output", "residual"
COLUMNS = {"error": 0, "relative": 1}


@dataclass
class DAS(MethodSum, GradientMethod):
    """Change of the network's output on a query when a training image is left out."""

    name: ClassVar = "das"
    title: ClassVar = "DAS"
    paper: ClassVar = "Lin et al., ICLR 2025"
    formula: ClassVar = "φ_qᵀ H⁻¹ φ_i · r_i / (1 − h_i),  φ = P · mean_t ∇mean(ε_θ) / ‖·‖"
    needs: ClassVar = "a model; several models for the ensemble"
    cost: ClassVar = "n·t backward and n·t forward passes, k³ once; max(t, 80) per query"

    features: FeatureSpec = group(
        lambda: FeatureSpec(objective=Objective("average"), normalize="timestep"),
        affects="features",
    )
    ridge: Ridge = group(Ridge, affects="factors")
    residual: Literal["error", "relative", "none"] = setting(
        "error",
        "factor r of an image: its mean root mean squared error, that relative to their norm over "
        "all evaluations, or 1",
        affects="factors",
    )
    leverage: bool = setting(True, "divide by one minus the image's leverage", affects="factors")

    def terms(self) -> Mapping[str, tuple[float, BilinearAttributor]]:
        output = LeverageRidge(
            self.features,
            self.query_draws,
            self.query_objective,
            self.query_timesteps,
            ridge=self.ridge,
            with_leverage=self.leverage,
        )
        return {OUTPUT: (1.0, output)}

    def feature_terms(self) -> Mapping[str, BilinearAttributor]:
        return {
            **super().feature_terms(),
            RESIDUAL: Residuals(
                self.features, self.query_draws, query_timesteps=self.query_timesteps
            ),
        }

    def learn(self, context: FitContext) -> None:
        super().learn(context)
        table = context.of_set(RESIDUAL).table()
        self.residuals_ = []
        for model in range(table.models):
            rows = np.concatenate([rows for _, rows in table.chunks(model)])
            is_one = self.residual == "none"
            self.residuals_.append(np.ones(table.n) if is_one else rows[:, COLUMNS[self.residual]])

    def model_scores(self, model: int, query: np.ndarray) -> np.ndarray:
        (term,) = self.terms_
        scores = term.model_scores(model, query[:, : term.features_.dim])
        return scores * self.residuals_[model]

    def query_factors(self, model: int, query: np.ndarray) -> np.ndarray:
        return self._as_wide(super().query_factors(model, query))

    def train_factors(
        self, model: int, memory: int = MEMORY, first: int = 0
    ) -> Iterator[tuple[int, np.ndarray]]:
        for start, rows in super().train_factors(model, memory, first):
            residuals = self.residuals_[model][start : start + len(rows), None]
            yield start, self._as_wide(rows * residuals)

    def _as_wide(self, factors: np.ndarray) -> np.ndarray:
        """Factors as wide as the features, with zeros in the place of residuals."""
        return np.pad(factors, ((0, 0), (0, self.features_.dim - factors.shape[1])))
