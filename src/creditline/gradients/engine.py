"""Gradient engines: from a probe to the gradient of its averaged objective, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor

from creditline.diffusion.denoiser import Denoiser
from creditline.errors import NumericsError
from creditline.gradients.objective import Objective
from creditline.gradients.parameters import Layer, differentiable
from creditline.gradients.probe import Probe

Parts = Literal["whole", "timesteps", "halves"]
"""Whether an image has one gradient, one for each timestep, or one for each half of its noise."""


class GradientEngine(Protocol):
    """Anything that yields exact gradients of a probe."""

    def gradient(self, probe: Probe, parts: Parts = "whole") -> list[Tensor]:
        """Gradients in every layer, each of shape `(units, d_l)`: 1, t or 2 units."""


class AutogradEngine:
    """Exact gradients by ordinary backward passes, one image at a time.

    The mean over timesteps of gradients is the gradient of the mean objective, so an image's
    timesteps form the batch and one backward pass yields the feature of D-TRAK; no per-sample
    machinery, no patched attention. Gradients of single timesteps cost one pass each and are
    taken only when they are normalised or kept.

    Args:
        denoiser: the network and its process.
        layers: parameters to differentiate.
        objective: scalar of the output.
        normalise: `"timestep"` divides each timestep's gradient by its norm.
        microbatch: most evaluations per pass, to bound memory; sums run in float32 across passes.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        layers: Sequence[Layer],
        objective: Objective,
        normalise: Literal["none", "timestep"] = "none",
        microbatch: int = 64,
    ) -> None:
        self.denoiser = denoiser
        self.layers = tuple(layers)
        self.objective = objective
        self.normalise = normalise
        self.microbatch = microbatch

    def gradient(self, probe: Probe, parts: Parts = "whole") -> list[Tensor]:
        """Gradients of one probe.

        Args:
            probe: `u = t * r` evaluations of an image.
            parts: what to keep apart. Halves are those of `Probe.halves`; where each timestep is
                normalised, every other timestep.

        Returns:
            One float32 tensor of shape `(units, d_l)` per layer; units is 1, `t` or 2.

        Raises:
            NumericsError: if a gradient is not finite, or is zero where it must be normalised.
            SettingsError: if halves are asked for and there is but one evaluation.
        """
        u, r = len(probe.t), probe.draws
        apart = parts == "timesteps" or self.normalise == "timestep"
        groups = [torch.arange(u)]
        if apart:
            groups = [torch.arange(i, i + r) for i in range(0, u, r)]
        elif parts == "halves":
            groups = list(probe.halves())
        with differentiable(self.denoiser.module, self.layers) as parameters:
            units = [self._mean_gradient(probe, parameters, group) for group in groups]
        if self.normalise == "timestep":
            units = [self._unit(unit, probe, i * r) for i, unit in enumerate(units)]
        stacked = [torch.stack(layer) for layer in zip(*units, strict=True)]
        if apart and parts == "whole":
            stacked = [layer.mean(0, keepdim=True) for layer in stacked]
        elif apart and parts == "halves":
            stacked = [torch.stack([x[::2].mean(0), x[1::2].mean(0)]) for x in stacked]
        for layer, values in zip(self.layers, stacked, strict=True):
            if not torch.isfinite(values).all():
                raise NumericsError(
                    f"The gradient of image {probe.image_id} is not finite in layer "
                    f"{layer.name!r}. Run `creditline doctor` on the model; half precision "
                    "overflows easily, float32 is the safe choice."
                )
        return stacked

    def _mean_gradient(
        self, probe: Probe, parameters: list[list[Tensor]], group: Tensor
    ) -> list[Tensor]:
        """Gradient of the mean objective over some evaluations, flat per layer."""
        total: list[Tensor] | None = None
        for part in group.to(probe.t.device).split(self.microbatch):
            flat = self._sum_gradient(probe, parameters, part)
            total = flat if total is None else [a + b for a, b in zip(total, flat, strict=True)]
        return [layer / len(group) for layer in total or []]

    def _sum_gradient(
        self, probe: Probe, parameters: list[list[Tensor]], part: Tensor
    ) -> list[Tensor]:
        denoiser, x0, noise, t = self.denoiser, probe.x0[part], probe.noise[part], probe.t[part]
        condition = {name: value[part] for name, value in probe.condition.items()}
        with torch.enable_grad():
            x_t = denoiser.process.add_noise(x0, noise, t)
            output = denoiser.predict(x_t, t, condition)
            value = self.objective(denoiser.process, output, x0, noise, t).sum()
            # A parameter that the output does not depend on has gradient zero.
            gradients = torch.autograd.grad(
                value, [p for layer in parameters for p in layer], materialize_grads=True
            )
        rest, flat = list(gradients), []
        for layer in parameters:
            mine, rest = rest[: len(layer)], rest[len(layer) :]
            flat.append(torch.cat([g.flatten().float() for g in mine]))
        return flat

    @staticmethod
    def _unit(unit: list[Tensor], probe: Probe, position: int) -> list[Tensor]:
        squares = [layer.double().square().sum() for layer in unit]
        norm = torch.stack(squares).sum().sqrt()
        if not norm > 0:
            raise NumericsError(
                f"Image {probe.image_id} has gradient norm {norm.item()} at timestep "
                f"{int(probe.t[position])}, so it cannot be normalised. Use normalise='none' or "
                "other timesteps."
            )
        return [layer / norm.float() for layer in unit]
