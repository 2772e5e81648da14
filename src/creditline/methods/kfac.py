"""K-FAC influence: the curvature's eigenvalues are products of those of its Kronecker factors
(Martens & Grosse, ICML 2015).

    score(q, i) = g_q^T (A x S + damping)^-1 g_i,   g = mean_t grad L_simple
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from creditline.gradients.spec import FeatureSpec
from creditline.methods.ekfac import whitened_features
from creditline.methods.gradient_dot import GradientDot
from creditline.settings import group


@dataclass
class KFACInfluence(GradientDot):
    """Influence under a Kronecker-factored Gauss-Newton matrix."""

    name: ClassVar = "kfac"
    title: ClassVar = "K-FAC influence"
    paper: ClassVar = "Martens & Grosse, ICML 2015"
    formula: ClassVar = "g_qᵀ (A ⊗ S + λI)⁻¹ g_i,  g = mean_t ∇L_simple"
    needs: ClassVar = "a model; several models for the ensemble"
    cost: ClassVar = "as ekfac"

    features: FeatureSpec = group(lambda: whitened_features("kfac"), affects="features")
