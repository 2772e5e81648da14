"""Diagonal Fisher preconditioning: each parameter divided by its root mean squared gradient."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from creditline.gradients.engine import Engine
from creditline.gradients.noised_batch import NoisedBatch
from creditline.gradients.preconditioning.preconditioner import Preconditioner


class DiagonalFisher(Preconditioner):
    """`g / sqrt(F + rho mean_layer(F))` with `F = E[g^2]` over training images.

    `F` is the diagonal of the empirical Fisher matrix of per-image gradients. Applied to query and
    training image alike, their inner product is `g_q^T (F + damping)^-1 g_i`. Layers whose gradient
    is zero on all fitted images are left out: their scale is zero.
    """

    def fit(self, engine: Engine, noised_images: Iterable[NoisedBatch]) -> None:
        sums = [torch.zeros(layer.size, dtype=torch.float64) for layer in self.layers]
        count = 0
        for noised in noised_images:
            count += 1
            for total, gradient in zip(sums, engine.gradients([noised]), strict=True):
                total += gradient[0, 0].double().square().cpu()
        self._set([total / count for total in sums])

    def state(self) -> dict[str, np.ndarray]:
        return {
            layer.name or "*": fisher.numpy()
            for layer, fisher in zip(self.layers, self.fisher_, strict=True)
        }

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._set([torch.from_numpy(arrays[layer.name or "*"]) for layer in self.layers])

    def apply(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        return [
            gradient * scale.to(gradient.device)
            for gradient, scale in zip(gradients, self.scales_, strict=True)
        ]

    def _set(self, fisher: list[Tensor]) -> None:
        self.fisher_ = fisher
        damping = self.settings.preconditioner_damping
        self.scales_ = []
        for values in fisher:
            damped = values + damping * values.mean()
            self.scales_.append(torch.where(damped > 0, damped.rsqrt(), 0.0).float())
