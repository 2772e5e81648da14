"""Gradient engines: from probes to the gradients of their averaged objectives, layer by layer."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from creditline.diffusion.denoiser import Denoiser
from creditline.diffusion.precision import SCALE, Precision, autocast, require_precision
from creditline.errors import NumericsError
from creditline.gradients.accumulator import GradientAccumulator
from creditline.gradients.noise_plan import Reduction
from creditline.gradients.noised_batch import NoisedBatch
from creditline.gradients.objective import Objective
from creditline.gradients.parameters import Layer
from creditline.gradients.projection.base import GradientSink, Projector, StreamingProjector
from creditline.gradients.projection.two_sided import TwoSidedProjection

OperationCount = tuple[NoisedBatch, Tensor]
"""Some evaluations of a probe, by position, whose mean gradient is wanted."""


class Engine(ABC):
    """Anything that yields gradients of probes.

    Args:
        denoiser: the network and its process.
        layers: parameters to differentiate.
        objective: scalar of the output.
        normalize: `"timestep"` divides each timestep's gradient by its norm; with `sides` that is
            the norm of what they keep, an estimate whose square is unbiased.
        sides: what of each layer's gradient is kept; None: all.
        microbatch: most evaluations per pass, to bound memory; sums run in float32 across passes.
        precision: of the network's arithmetic.

    Raises:
        SettingsError: if the device cannot calculate in that precision.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        layers: Sequence[Layer],
        objective: Objective,
        normalize: Literal["none", "timestep"] = "none",
        sides: TwoSidedProjection | None = None,
        microbatch: int = 64,
        precision: Precision = "fp32",
    ) -> None:
        require_precision(precision, denoiser.device)
        self.denoiser = denoiser
        self.layers = tuple(layers)
        self.objective = objective
        self.normalize = normalize
        self.sides = sides
        self.microbatch = microbatch
        self.precision: Precision = precision

    def gradients(
        self, probes: Sequence[NoisedBatch], reduction: Reduction = "mean"
    ) -> list[Tensor]:
        """Gradients of some probes.

        Args:
            probes: `u = t * r` evaluations of an image each.
            reduction: what to average. Halves are those of `NoisedBatch.halves`; where each
                timestep is normalized, every other timestep.

        Returns:
            One float32 tensor of shape `(b, units, d_l)` per layer; units is 1, `t` or 2.

        Raises:
            NumericsError: if a gradient is not finite, or is zero where it must be normalized.
            SettingsError: if halves are asked for and there is but one evaluation.
        """
        work = [self._groups(probe, reduction) for probe in probes]
        pieces = [(p, g) for p, groups in zip(probes, work, strict=True) for g in groups]
        means = self.means(pieces)
        self._require_finite(pieces, means)
        if self.normalize == "none" and len({len(groups) for groups in work}) == 1:
            return [layer.unflatten(0, (len(work), -1)) for layer in means]
        found, start = [], 0
        for probe, groups in zip(probes, work, strict=True):
            units = [layer[start : start + len(groups)] for layer in means]
            found.append(self._combined(units, probe, reduction))
            start += len(groups)
        return [torch.stack(layer) for layer in zip(*found, strict=True)]

    def keep(self, name: str, flat: Tensor) -> Tensor:
        """What is kept of one parameter's flat gradient, float32."""
        return flat.float() if self.sides is None else self.sides.one(name, flat)

    def values(self, evaluations: NoisedBatch) -> Tensor:
        """The objective of each evaluation, shape `(u,)`, differentiable."""
        evaluations = evaluations.to(self.denoiser.device, self.denoiser.dtype)
        x0, noise, t = evaluations.x0, evaluations.noise, evaluations.t
        process = self.denoiser.process
        x_t = process.add_noise(x0, noise, t)
        with autocast(self.precision, x0.device):
            output = self.denoiser.predict(x_t, t, evaluations.condition)
        return self.objective(process, output, x0, noise, t, evaluations.weight)

    def batch(self, evaluations: int) -> int:
        """How many probes, of so many evaluations each, are best handed over at once."""
        return 1

    @property
    def scale(self) -> float:
        """What the objective is multiplied by before its gradient is taken, and divided by then."""
        return SCALE[self.precision]

    def features(
        self, probes: Sequence[NoisedBatch], reduction: Reduction, projector: Projector
    ) -> Tensor:
        """`gradients`, projected, float32 of shape `(b, units, k)`.

        Where the projector can take them as they come and nothing is to be done to a gradient as a
        whole, none ever is.

        Args:
            probes, reduction: as for `gradients`.
            projector: of these layers, with the same sides.

        Raises:
            NumericsError, SettingsError: as `gradients`.
        """
        if self.normalize != "none" or not isinstance(projector, StreamingProjector):
            gradients = self.gradients(probes, reduction)
            projected = projector.project([layer.flatten(0, 1) for layer in gradients])
            return projected.unflatten(0, (len(probes), -1))
        work = [(probe, group) for probe in probes for group in self._groups(probe, reduction)]
        gathered = projector.gathering(self.layers, self._factors(work))
        self.gather(work, gathered)
        found = gathered.features()
        if not math.isfinite(found.sum().item()):
            for piece, row in zip(work, found, strict=True):
                if not math.isfinite(row.sum().item()):  # once more, to say which layer it is
                    self._require_finite([piece], self.means([piece]))
                    raise NumericsError(
                        f"The gradient of image {piece[0].image_id} is finite, and its projection "
                        "is not: its numbers are too large to be added up. Use another precision, "
                        "or reduction='mean' of the objective."
                    )
        return found.unflatten(0, (len(probes), -1))

    def means(self, work: Sequence[OperationCount]) -> list[Tensor]:
        """Gradients of mean objectives, float32 of shape `(len(work), d_l)` per layer."""
        sums = GradientAccumulator(self.layers, self.sides, self._factors(work))
        self.gather(work, sums)
        return sums.layers()

    @abstractmethod
    def gather(self, work: Sequence[OperationCount], gathering: GradientSink) -> None:
        """Hand over the gradients of summed objectives, pass by pass."""

    def _groups(self, probe: NoisedBatch, reduction: Reduction) -> list[Tensor]:
        """Evaluations of each gradient that has to be taken by itself."""
        u, r = len(probe.t), probe.draws
        if reduction == "timesteps" or self.normalize == "timestep":
            return [torch.arange(i, i + r) for i in range(0, u, r)]
        return list(probe.halves()) if reduction == "halves" else [torch.arange(u)]

    def _factors(self, work: Sequence[OperationCount]) -> Tensor:
        """Of sums of gradients that make them means of the objective's."""
        counts = torch.tensor([len(group) for _, group in work], device=self.denoiser.device)
        return 1 / (counts * self.scale)

    def _require_finite(self, work: Sequence[OperationCount], means: list[Tensor]) -> None:
        # Read once: a sum is finite only where all of its terms are.
        if all(map(math.isfinite, torch.stack([x.sum() for x in means]).tolist())):
            return
        for layer, values in zip(self.layers, means, strict=True):
            if not torch.isfinite(values).all():
                row = int(torch.isfinite(values).all(1).int().argmin())
                raise NumericsError(
                    f"The gradient of image {work[row][0].image_id} is not finite in layer "
                    f"{layer.name!r}. Run `creditline doctor` on the model; half precision "
                    "overflows easily, fp16 before bf16; float32 is the safe choice."
                )

    def _combined(
        self, units: list[Tensor], probe: NoisedBatch, reduction: Reduction
    ) -> list[Tensor]:
        """What was asked for, of shape `(units, d_l)` per layer, of an image's gradients."""
        if self.normalize == "timestep":
            units = _unit_length(units, probe)
            if reduction == "halves":
                return [torch.stack([x[::2].mean(0), x[1::2].mean(0)]) for x in units]
            if reduction == "mean":
                return [x.mean(0, keepdim=True) for x in units]
        return units


def _unit_length(units: list[Tensor], probe: NoisedBatch) -> list[Tensor]:
    """Each timestep's gradient divided by its norm over all layers."""
    squares = torch.stack([layer.double().square().sum(1) for layer in units])
    norms = squares.sum(0).sqrt()
    if not (norms > 0).all():
        i = int(norms.argmin())
        raise NumericsError(
            f"Image {probe.image_id} has gradient norm {norms[i].item()} at timestep "
            f"{int(probe.t[i * probe.draws])}, so it cannot be normalized. Use normalize='none' or "
            "other timesteps."
        )
    return [layer / norms.float()[:, None] for layer in units]
