"""Influence under the diagonal of the Gauss-Newton matrix.

score(q, i) = g_q^T (diag(GGN) + damping)^-1 g_i,   g = mean_t grad L_simple
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from creditline.gradients.spec import FeatureSpec
from creditline.methods.ekfac import whitened_features
from creditline.methods.gradient_dot import GradientDot
from creditline.settings import group


@dataclass
class DiagonalInfluence(GradientDot):
    """Influence under diagonal curvature."""

    name: ClassVar = "diag-fisher"
    title: ClassVar = "Diagonal Fisher influence"
    paper: ClassVar = "Kirkpatrick et al., PNAS 2017, as curvature"
    formula: ClassVar = "g_qᵀ (diag(GGN) + λI)⁻¹ g_i,  g = mean_t ∇L_simple"
    needs: ClassVar = "a model; several models for the ensemble"
    cost: ClassVar = "n·t backward passes, 1,000 for the curvature; max(t, 80) per query"

    features: FeatureSpec = group(lambda: whitened_features("diagonal-fisher"), affects="features")
