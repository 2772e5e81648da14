"""TRAK: Park et al., "TRAK: Attributing Model Behavior at Scale" (ICML 2023), on diffusion models.

    score(q, i) = phi_q^T (Phi^T Phi + lambda I)^-1 phi_i,   phi = P mean_t grad L_simple

Settings: simple objective, uniform timesteps, ridge curvature, bilinear score. The factor
`dL/df` of the original is 1 here, since the objective is the loss itself (D-TRAK paper, section
2.3). Several models give the ensemble: the mean of their score matrices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from creditline.methods.ridge_method import RidgeMethod


@dataclass
class TRAK(RidgeMethod):
    """Projected gradients of the training loss under ridge curvature."""

    name: ClassVar = "trak"
    title: ClassVar = "TRAK"
    paper: ClassVar = "Park et al., ICML 2023"
    formula: ClassVar = "φ_qᵀ (ΦᵀΦ + λI)⁻¹ φ_i,  φ = P · mean_t ∇L_simple"
    needs: ClassVar = "a model; several models for the ensemble"
    cost: ClassVar = "n·t backward passes, k³ once; max(t, 80) per query"
