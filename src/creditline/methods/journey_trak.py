"""Journey-TRAK: Georgiev et al., "The Journey, Not the Destination" (2023).

    score(q, i) = phi_q^T (Phi^T Phi + lambda I)^-1 phi_i,
    phi_q = P mean_s grad L_simple at (x0_s, t_s) along the query's own sampling run

Settings: TRAK's training features; on the query side the sampler's timesteps, with the predicted
clean image of each step re-noised to that step. The D-TRAK paper averages over all steps with one
noise each; the original scores single timesteps with many noises and random training timesteps:
`per_timestep=True` with `query_draws` raised and a `random` training plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from creditline.bounds import DRAWS
from creditline.errors import SettingsError
from creditline.gradients.noise_plan import NoisePlan
from creditline.methods.ridge_method import RidgeMethod
from creditline.settings import setting


@dataclass
class JourneyTRAK(RidgeMethod):
    """TRAK along the sampling run that generated the query image."""

    name: ClassVar = "journey-trak"
    title: ClassVar = "Journey-TRAK"
    paper: ClassVar = "Georgiev et al., 2023"
    formula: ClassVar = "φ_qᵀ (ΦᵀΦ + λI)⁻¹ φ_i,  φ_q along the sampling run of q"
    needs: ClassVar = "a model and images generated with their trajectory; shares TRAK's index"
    cost: ClassVar = "as TRAK; sampling steps × draws per query"

    capabilities: ClassVar = replace(RidgeMethod.capabilities, needs_trajectory=True)

    query_draws: int | None = setting(
        1, "noise draws at each step of the sampling run", affects="scores", bounds=DRAWS
    )
    per_timestep: bool = setting(
        False, "one ranking for each step instead of their average", affects="scores"
    )

    def check_given(self, settings: Mapping[str, Any]) -> None:
        super().check_given(settings)
        if settings.get("query_timesteps"):
            raise SettingsError(
                f"{self.title} takes a query's timesteps from its sampling run, so "
                "query_timesteps has no effect. Leave it out."
            )

    @property
    def query_plan(self) -> NoisePlan:
        plan = self.features.plan
        return replace(plan, schedule="trajectory", draws=self.query_draws or plan.draws)

    @property
    def keeps_timesteps(self) -> bool:
        return self.per_timestep
