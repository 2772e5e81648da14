"""Exact gradients by ordinary backward passes, one image at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from creditline.gradients.engine import Engine, EvaluationGroup
from creditline.gradients.noised_batch import NoisedBatch
from creditline.gradients.parameters import enable_gradients
from creditline.gradients.projection.accumulator import GradientSink


class AutogradEngine(Engine):
    """Gradients of weights by autograd.

    The mean over timesteps of gradients is the gradient of the mean objective. So an image's
    timesteps form the batch, and one backward pass yields the feature of D-TRAK for any network,
    without per-sample gradients. Gradients of single timesteps cost one pass each and are computed
    only when they are normalized or kept.
    """

    def accumulate(self, work: Sequence[EvaluationGroup], sink: GradientSink) -> None:
        names = [name for layer in self.layers for name in layer.parameters]
        with enable_gradients(self.denoiser.module, self.layers) as layers:
            parameters = [parameter for layer in layers for parameter in layer]
            for row, (noised, group) in enumerate(work):
                for part in group.split(self.microbatch):
                    gradients = self._gradients(noised[part], parameters)
                    for name, gradient in zip(names, gradients, strict=True):
                        sink.add(name, row, self.project_parameter(name, gradient.flatten())[None])

    def _gradients(self, noised: NoisedBatch, parameters: list[Tensor]) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            value = self.values(noised).sum() * self.scale
            # A parameter that the output does not depend on has gradient zero.
            return torch.autograd.grad(value, parameters, materialize_grads=True)
