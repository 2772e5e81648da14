"""Plain gradient similarity: Charpiat et al., "Input Similarity from the Neural Network
Perspective" (NeurIPS 2019), as the D-TRAK paper's Gradient (dot) and Gradient (cos).

    score(q, i) = <phi_q, phi_i>   or its cosine,   phi = P mean_t grad L_simple

Settings: simple objective, no curvature. The centered cosine is our own. It subtracts the mean
training gradient from both sides, as ridge methods do, and so measures how much of a ridge method's
gain is due to centering alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from creditline.methods.base import GradientMethod
from creditline.methods.inner_product import InnerProduct


@dataclass
class GradientDot(InnerProduct, GradientMethod):
    """Inner product of loss gradients at the final model."""

    name: ClassVar = "gradient-dot"
    title: ClassVar = "Gradient (dot)"
    paper: ClassVar = "Charpiat et al., NeurIPS 2019"
    formula: ClassVar = "⟨φ_q, φ_i⟩,  φ = P · mean_t ∇L_simple"
    needs: ClassVar = "a model; shares TRAK's index"
    cost: ClassVar = "n·t backward passes; max(t, 80) per query"


@dataclass
class GradientCosine(GradientDot):
    """Cosine of loss gradients at the final model."""

    name: ClassVar = "gradient-cosine"
    title: ClassVar = "Gradient (cosine)"
    formula: ClassVar = "⟨φ_q, φ_i⟩ / (‖φ_q‖ ‖φ_i‖)"
    cosine: ClassVar = True


@dataclass
class GradientCentered(GradientCosine):
    """Cosine of loss gradients less their mean."""

    name: ClassVar = "gradient-centered"
    title: ClassVar = "Gradient (centered cosine)"
    paper: ClassVar = "gradient-cosine with TRAK's centering"
    formula: ClassVar = "cos(φ_q - φ̄, φ_i - φ̄)"
    center: ClassVar = True
