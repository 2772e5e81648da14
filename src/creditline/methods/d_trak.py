"""D-TRAK: Zheng et al., "Intriguing Properties of Data Attribution on Diffusion Models"
(ICLR 2024).

    score(q, i) = phi_q^T (Phi^T Phi + lambda I)^-1 phi_i,   phi = P mean_t grad ||eps_theta||^2

Settings: as TRAK, with the squared norm of the output in place of the loss on both sides and in the
kernel. Any other objective (average, p-norm, ELBO, interpolation) is a setting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from creditline.gradients.objective import Objective
from creditline.gradients.spec import FeatureSpec
from creditline.methods.ridge_method import RidgeMethod
from creditline.settings import group


@dataclass
class DTRAK(RidgeMethod):
    """Projected gradients of the output's squared norm under ridge curvature."""

    name: ClassVar = "d-trak"
    title: ClassVar = "D-TRAK"
    paper: ClassVar = "Zheng et al., ICLR 2024"
    formula: ClassVar = "φ_qᵀ (ΦᵀΦ + λI)⁻¹ φ_i,  φ = P · mean_t ∇‖ε_θ‖²"
    needs: ClassVar = "a model; several models for the ensemble"
    cost: ClassVar = "n·t backward passes, k³ once; max(t, 80) per query"

    features: FeatureSpec = group(
        lambda: FeatureSpec(objective=Objective("square-norm")), affects="features"
    )
