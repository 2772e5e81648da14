"""TracIn over checkpoints: Pruthi et al. (NeurIPS 2020).

    score(q, i) = sum_c w_c <phi_q^c, phi_i^c>

Settings: simple objective, several checkpoints of one run, no curvature. `w_c = 1/C` as in the
D-TRAK paper's experiments, or the learning rate at each checkpoint as in the original.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from creditline.errors import SettingsError
from creditline.methods.gradient_dot import GradientDot
from creditline.settings import setting

Weighting = Literal["equal", "learning-rate"]


@dataclass
class TracInCP(GradientDot):
    """Gradient inner products summed over training checkpoints.

    Raises:
        SettingsError: on an unknown weighting; at `fit`, if a learning rate is not recorded.
    """

    name: ClassVar = "tracin"
    title: ClassVar = "TracInCP"
    paper: ClassVar = "Pruthi et al., NeurIPS 2020"
    formula: ClassVar = "Σ_c w_c ⟨φ_q^c, φ_i^c⟩"
    needs: ClassVar = "checkpoints of one training run"
    cost: ClassVar = "C·n·t backward passes; C·max(t, 80) per query"

    capabilities: ClassVar = replace(GradientDot.capabilities, models="checkpoints")

    checkpoint_weights: Weighting = setting("equal", "weight of each checkpoint", affects="factors")

    def model_weights(self) -> np.ndarray:
        if self.checkpoint_weights == "equal":
            return super().model_weights()
        rates = self.features_.learning_rates
        if any(rate is None for rate in rates):
            raise SettingsError(
                f"Weighting by learning rate needs one for each checkpoint; recorded: {rates}. "
                "Use checkpoints written by `creditline train`, or equal weights."
            )
        return np.array(rates, dtype=np.float64)
