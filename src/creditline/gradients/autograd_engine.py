"""Exact gradients by ordinary backward passes, one image at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from creditline.gradients.engine import Engine, OperationCount
from creditline.gradients.noised_batch import NoisedBatch
from creditline.gradients.parameters import enable_gradients
from creditline.gradients.projection.base import GradientSink


class AutogradEngine(Engine):
    """Weight gradients as autograd has them.

    The mean over timesteps of gradients is the gradient of the mean objective, so an image's
    timesteps form the batch and one backward pass yields the feature of D-TRAK; no per-sample
    machinery, no patched attention, any network. Gradients of single timesteps cost one pass each
    and are taken only when they are normalized or kept.
    """

    def gather(self, work: Sequence[OperationCount], gathering: GradientSink) -> None:
        names = [name for layer in self.layers for name in layer.parameters]
        with enable_gradients(self.denoiser.module, self.layers) as parameters:
            for row, (probe, group) in enumerate(work):
                for part in group.split(self.microbatch):
                    found = self._gradients(probe[part], [p for layer in parameters for p in layer])
                    for name, gradient in zip(names, found, strict=True):
                        gathering.add(name, row, self.keep(name, gradient.flatten())[None])

    def _gradients(self, probe: NoisedBatch, parameters: list[Tensor]) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            value = self.values(probe).sum() * self.scale
            # A parameter that the output does not depend on has gradient zero.
            return torch.autograd.grad(value, parameters, materialize_grads=True)
