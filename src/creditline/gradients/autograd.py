"""Exact gradients by ordinary backward passes, one image at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from creditline.gradients.engine import Engine, Work
from creditline.gradients.parameters import differentiable
from creditline.gradients.probe import Probe


class AutogradEngine(Engine):
    """Weight gradients as autograd has them.

    The mean over timesteps of gradients is the gradient of the mean objective, so an image's
    timesteps form the batch and one backward pass yields the feature of D-TRAK; no per-sample
    machinery, no patched attention, any network. Gradients of single timesteps cost one pass each
    and are taken only when they are normalised or kept.
    """

    def means(self, work: Sequence[Work]) -> list[Tensor]:
        with differentiable(self.denoiser.module, self.layers) as parameters:
            units = [self._mean(one, parameters) for one in work]
        return [torch.stack(layer) for layer in zip(*units, strict=True)]

    def _mean(self, work: Work, parameters: list[list[Tensor]]) -> list[Tensor]:
        """Gradient of the mean objective over some evaluations, flat per layer."""
        probe, group = work
        total: list[Tensor] | None = None
        for part in group.to(probe.t.device).split(self.microbatch):
            flat = self._sum(probe[part], parameters)
            total = flat if total is None else [a + b for a, b in zip(total, flat, strict=True)]
        mean = [layer / (len(group) * self.scale) for layer in total or []]
        return mean if self.sides is None else self.sides.compress(mean)

    def _sum(self, probe: Probe, parameters: list[list[Tensor]]) -> list[Tensor]:
        with torch.enable_grad():
            value = self.values(probe).sum() * self.scale
            # A parameter that the output does not depend on has gradient zero.
            gradients = torch.autograd.grad(
                value, [p for layer in parameters for p in layer], materialize_grads=True
            )
        rest, flat = list(gradients), []
        for layer in parameters:
            mine, rest = rest[: len(layer)], rest[len(layer) :]
            flat.append(torch.cat([g.flatten().float() for g in mine]))
        return flat
