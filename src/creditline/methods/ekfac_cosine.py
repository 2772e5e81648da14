"""EK-FAC influence relative to the training image's own: Barshan et al., "RelatIF" (AISTATS 2020),
under the curvature of `ekfac`.

score(q, i) = EK-FAC(q, i) / sqrt(EK-FAC(q, q) EK-FAC(i, i))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from creditline.gradients.spec import FeatureSpec
from creditline.methods.ekfac import whitened_features
from creditline.methods.gradient_cosine import GradientCosine
from creditline.settings import group


@dataclass
class EKFACCosine(GradientCosine):
    """Cosine of whitened gradients."""

    name: ClassVar = "ekfac-cosine"
    title: ClassVar = "EK-FAC cosine"
    paper: ClassVar = "Barshan et al., AISTATS 2020"
    formula: ClassVar = "s(q, i) / √(s(q, q) s(i, i)),  s of EK-FAC"
    needs: ClassVar = "a model; shares the index of ekfac"
    cost: ClassVar = "as ekfac"

    features: FeatureSpec = group(lambda: whitened_features("ekfac"), affects="features")
