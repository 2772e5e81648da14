"""Exact gradients by ordinary backward passes, one image at a time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

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
        totals = self._totals(work)
        with differentiable(self.denoiser.module, self.layers) as parameters:
            for row, one in enumerate(work):
                self._add([layer[row] for layer in totals], one, parameters)
        return totals

    def _add(self, totals: list[Tensor], work: Work, parameters: list[list[Tensor]]) -> None:
        """Add the gradient of the mean objective over some evaluations, flat per layer."""
        probe, group = work
        for part in group.to(probe.t.device).split(self.microbatch):
            found = self._gradients(probe[part], parameters)
            for layer, total, gradients in zip(self.layers, totals, found, strict=True):
                start = 0
                for name, gradient in zip(layer.parameters, gradients, strict=True):
                    kept = self.keep(name, gradient.flatten())
                    total[start : start + len(kept)].add_(kept, alpha=1 / (len(group) * self.scale))
                    start += len(kept)

    def _gradients(self, probe: Probe, parameters: list[list[Tensor]]) -> list[tuple[Tensor, ...]]:
        with torch.enable_grad():
            value = self.values(probe).sum() * self.scale
            # A parameter that the output does not depend on has gradient zero.
            found = torch.autograd.grad(
                value, [p for layer in parameters for p in layer], materialize_grads=True
            )
        rest = iter(found)
        return [tuple(islice(rest, len(layer))) for layer in parameters]
