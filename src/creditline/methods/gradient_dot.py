"""Inner product of gradients: Charpiat et al. (NeurIPS 2019), the D-TRAK paper's Gradient (dot).

score(q, i) = <phi_q, phi_i>,   phi = P mean_t grad L_simple
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from creditline.methods.gradient_method import GradientMethod
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
