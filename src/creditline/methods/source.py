"""SOURCE, approximate unrolled differentiation: Bae, Lin, Lorraine and Grosse, "Training Data
Attribution via Approximate Unrolled Differentiation" (NeurIPS 2024).

    score(q, i) = sum_l g_q^T S_L ... S_{l+1} r_l(i),   S_l = exp(-h_l H_l)
    r_l(i) = (1 - exp(-h_l H_l)) H_l^-1 g_i(theta_l)

A training image pushes the parameters in each segment `l` of training; what follows forgets part of
it. The horizon `h` is the sum of the segment's learning rates, read from the training run. Here `H`
is the network's Gauss-Newton matrix by EK-FAC at the checkpoint that ends the segment, and Adam's
division by the root mean square of gradients is part of the horizon of each layer. There is no
damping to choose.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from creditline.gradients.spec import FeatureSpec
from creditline.methods.ekfac import whitened_features
from creditline.methods.gradient_dot import GradientDot
from creditline.settings import group


def unrolled_features() -> FeatureSpec:
    """Features of EK-FAC with the filter of unrolled training."""
    whitened = whitened_features("ekfac")
    unrolled = replace(whitened.preconditioning, preconditioner_filter="unrolled")
    return replace(whitened, preconditioning=unrolled)


@dataclass
class Source(GradientDot):
    """Effect of a training image on the loss, followed through the segments of training."""

    name: ClassVar = "source"
    title: ClassVar = "SOURCE"
    paper: ClassVar = "Bae et al., NeurIPS 2024"
    formula: ClassVar = "Σ_l g_qᵀ S_L ⋯ S_{l+1} (I − exp(−h_l H_l)) H_l⁻¹ g_i(θ_l)"
    needs: ClassVar = "checkpoints of one training run"
    cost: ClassVar = "C·(n·t + 2,000) backward passes; C·max(t, 80) per query"

    capabilities: ClassVar = replace(
        GradientDot.capabilities, models="checkpoints", self_influence=False
    )

    features: FeatureSpec = group(unrolled_features, affects="features")
