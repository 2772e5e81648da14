"""EK-FAC influence: Grosse et al. (2023); on diffusion models Mlodozeniec et al., "Influence
Functions for Scalable Data Attribution in Diffusion Models" (ICLR 2025).

    score(q, i) = g_q^T (GGN + damping)^-1 g_i,   g = mean_t grad L_simple

The Gauss-Newton matrix of the network is estimated layer by layer in Kronecker-factored
eigenbases. Gradients are rotated and divided by the square root of its damped eigenvalues, then
projected, so that a score is an inner product of features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from creditline.gradients.preconditioning.settings import DRAWS, Preconditioning
from creditline.gradients.projection import Projection
from creditline.gradients.spec import FeatureSpec
from creditline.methods.gradient_dot import GradientDot
from creditline.settings import group

DIM, BITS = 65536, 1
"""Many dimensions of one bit keep more of a score than few of 16 bits with as many bytes."""


def whitened_features(preconditioner: str) -> FeatureSpec:
    """Features of one curvature's estimate."""
    return FeatureSpec(
        projection=Projection("count-sketch", DIM),
        preconditioning=Preconditioning(preconditioner, preconditioner_draws=DRAWS),
        bits=BITS,
    )


@dataclass
class EKFACInfluence(GradientDot):
    """Influence under the Gauss-Newton matrix in Kronecker-factored eigenbases."""

    name: ClassVar = "ekfac"
    title: ClassVar = "EK-FAC influence"
    paper: ClassVar = "Mlodozeniec et al., ICLR 2025"
    formula: ClassVar = "g_qᵀ (GGN + λI)⁻¹ g_i,  g = mean_t ∇L_simple"
    needs: ClassVar = "a model; several models for the ensemble"
    cost: ClassVar = "n·t backward passes, 2,000 for the curvature; max(t, 80) per query"

    features: FeatureSpec = group(lambda: whitened_features("ekfac"), affects="features")
