"""ReTrac, renormalized TracIn: Xie, Li, Bai and Hsieh, "Data Attribution for Diffusion Models:
Timestep-induced Bias in Influence Estimation" (TMLR 2024).

    score(q, i) = sum_c w_c <phi_q^c, phi_i^c>,   phi = P mean_t g_t / |g_t|,   g_t = grad L_simple

Norms of gradients depend on the timestep, so images that met large ones in training look
influential for everything. Here every image is evaluated at all timesteps of the noise plan, where
the paper takes a training image at the one timestep that training drew for it at the checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from creditline.gradients.spec import FeatureSpec
from creditline.methods.tracin import TracInCP
from creditline.settings import group


@dataclass
class ReTrac(TracInCP):
    """Inner products of gradients normalized at each timestep, summed over checkpoints."""

    name: ClassVar = "retrac"
    title: ClassVar = "ReTrac"
    paper: ClassVar = "Xie et al., TMLR 2024"
    formula: ClassVar = "Σ_c w_c ⟨φ_q^c, φ_i^c⟩,  φ = P · mean_t ∇L_t / ‖∇L_t‖"

    features: FeatureSpec = group(lambda: FeatureSpec(normalize="timestep"), affects="features")
