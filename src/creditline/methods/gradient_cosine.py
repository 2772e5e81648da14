"""Cosine of gradients: Charpiat et al. (NeurIPS 2019), the D-TRAK paper's Gradient (cos).

score(q, i) = <phi_q, phi_i> / (|phi_q| |phi_i|),   phi = P mean_t grad L_simple
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from creditline.methods.gradient_dot import GradientDot


@dataclass
class GradientCosine(GradientDot):
    """Cosine of loss gradients at the final model."""

    name: ClassVar = "gradient-cosine"
    title: ClassVar = "Gradient (cosine)"
    formula: ClassVar = "⟨φ_q, φ_i⟩ / (‖φ_q‖ ‖φ_i‖)"
    capabilities: ClassVar = replace(GradientDot.capabilities, scale_free=True)
