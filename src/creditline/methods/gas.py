"""GAS, the cosine form of TracIn: Hammoudeh and Lowd (CCS 2022).

score(q, i) = mean_c cos(phi_q^c, phi_i^c)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from creditline.methods.gradient_dot import GradientDot


@dataclass
class GAS(GradientDot):
    """Gradient cosines averaged over training checkpoints."""

    name: ClassVar = "gas"
    title: ClassVar = "GAS"
    paper: ClassVar = "Hammoudeh and Lowd, CCS 2022"
    formula: ClassVar = "mean_c cos(φ_q^c, φ_i^c)"
    needs: ClassVar = "checkpoints of one training run; shares TracInCP's index"
    cost: ClassVar = "C·n·t backward passes; C·max(t, 80) per query"
    capabilities: ClassVar = replace(
        GradientDot.capabilities, models="checkpoints", scale_free=True
    )
