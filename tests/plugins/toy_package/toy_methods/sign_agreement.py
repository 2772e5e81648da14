from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from creditline.methods import GradientMethod


@dataclass
class SignAgreement(GradientMethod):
    """Inner product of the signs of projected gradients."""

    name: ClassVar = "sign-agreement"
    title: ClassVar = "Sign agreement"
    paper: ClassVar = "an example of a bilinear method"
    formula: ClassVar = "⟨sign φ_q, sign φ_i⟩"
    needs: ClassVar = "a model; shares TRAK's index"
    cost: ClassVar = "n·t backward passes; max(t, 80) per query"

    def query_factors(self, model, query):
        return np.sign(query)

    def train_factors(self, model, memory=0, first=0):
        return ((start, np.sign(rows)) for start, rows in self.features_.chunks(model))
