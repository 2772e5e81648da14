"""Gradient engines: from noised images to gradients of their mean objectives, layer by layer."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal, Self

import torch
from torch import Tensor

from creditline.diffusion.denoiser import Denoiser
from creditline.diffusion.precision import SCALE, Precision, autocast, require_precision
from creditline.errors import NumericsError
from creditline.gradients.noise_plan import Reduction
from creditline.gradients.noised_batch import NoisedBatch
from creditline.gradients.objective import Objective
from creditline.gradients.parameters import Layer
from creditline.gradients.projection.accumulator import GradientAccumulator, GradientSink
from creditline.gradients.projection.projector import Projector
from creditline.gradients.projection.two_sided import TwoSidedProjection

EvaluationGroup = tuple[NoisedBatch, Tensor]
"""A noised image, and positions of the evaluations whose mean gradient is wanted."""


class Engine(ABC):
    """Computes gradients of noised images.

    Args:
        denoiser: the network and its process.
        layers: parameters to differentiate.
        objective: scalar of the output.
        normalize: `"timestep"` divides each timestep's gradient by its norm; with `two_sided` that
            is the norm after the projection, whose square is unbiased.
        two_sided: projection of each weight's gradient; None: explicit gradients.
        microbatch: most evaluations per pass, to bound memory; sums run in float32 across passes.
        precision: of the network's arithmetic.

    Raises:
        SettingsError: if the device does not support that precision.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        layers: Sequence[Layer],
        objective: Objective,
        normalize: Literal["none", "timestep"] = "none",
        two_sided: TwoSidedProjection | None = None,
        microbatch: int = 64,
        precision: Precision = "fp32",
    ) -> None:
        require_precision(precision, denoiser.device)
        self.denoiser = denoiser
        self.layers = tuple(layers)
        self.objective = objective
        self.normalize = normalize
        self.two_sided = two_sided
        self.microbatch = microbatch
        self.precision: Precision = precision

    def measuring(self, objective: Objective) -> Self:
        """Return this engine for another objective; itself for its own."""
        if objective == self.objective:
            return self
        other = copy.copy(self)
        other.objective = objective
        return other

    def gradients(
        self, noised_images: Sequence[NoisedBatch], reduction: Reduction = "mean"
    ) -> list[Tensor]:
        """Compute gradients of some images.

        Args:
            noised_images: `u = t * r` evaluations of an image each.
            reduction: what to average. Halves are those of `NoisedBatch.halves`; where each
                timestep is normalized, every other timestep.

        Returns:
            One float32 tensor of shape `(b, units, d_l)` per layer; units is 1, `t` or 2.

        Raises:
            NumericsError: if a gradient is not finite, or is zero where it must be normalized.
            SettingsError: for halves of a single evaluation.
        """
        groups = [self._groups(noised, reduction) for noised in noised_images]
        work = [(x, group) for x, own in zip(noised_images, groups, strict=True) for group in own]
        means = self.mean_gradients(work)
        self._require_finite(work, means)
        if self.normalize == "none" and len({len(own) for own in groups}) == 1:
            return [layer.unflatten(0, (len(groups), -1)) for layer in means]
        images, start = [], 0
        for noised, own in zip(noised_images, groups, strict=True):
            units = [layer[start : start + len(own)] for layer in means]
            images.append(self._combine(units, noised, reduction))
            start += len(own)
        return [torch.stack(layer) for layer in zip(*images, strict=True)]

    def project_parameter(self, name: str, flat: Tensor) -> Tensor:
        """Apply the two-sided projection, if any, to one parameter's flat gradient; float32."""
        if self.two_sided is None:
            return flat.float()
        return self.two_sided.project_parameter(name, flat)

    def values(self, evaluations: NoisedBatch) -> Tensor:
        """Compute the objective of each evaluation, shape `(u,)`, differentiable.

        With an output gradient, it is the output's inner product with that.
        """
        evaluations = evaluations.to(self.denoiser.device, self.denoiser.dtype)
        x0, noise, t = evaluations.x0, evaluations.noise, evaluations.t
        process = self.denoiser.process
        x_t = process.add_noise(x0, noise, t)
        with autocast(self.precision, x0.device):
            output = self.denoiser.predict(x_t, t, evaluations.condition)
        if evaluations.output_gradient is not None:
            return (output.float() * evaluations.output_gradient.float()).flatten(1).sum(1)
        return self.objective(process, output, x0, noise, t, evaluations.weight)

    def batch(self, evaluations: int) -> int:
        """Return how many images, of that many evaluations each, are best computed at once."""
        return 1

    @property
    def scale(self) -> float:
        """Factor of the objective before its gradient is computed, which is then divided by it."""
        return SCALE[self.precision]

    def features(
        self,
        noised_images: Sequence[NoisedBatch],
        reduction: Reduction,
        projector: Projector,
        transform: Callable[[Sequence[Tensor]], list[Tensor]] | None = None,
    ) -> Tensor:
        """Compute projected `gradients`, float32 of shape `(b, units, k)`.

        Gradients go to the projector as they come, unless complete ones have to be normalized or
        transformed first.

        Args:
            noised_images, reduction: as for `gradients`.
            projector: of these layers.
            transform: maps explicit gradients, one tensor of shape `(n, d_l)` per layer, to what
                is projected; None: nothing to do.

        Raises:
            NumericsError, SettingsError: as `gradients`.
        """
        if self.normalize != "none" or transform is not None:
            gradients = [layer.flatten(0, 1) for layer in self.gradients(noised_images, reduction)]
            gradients = gradients if transform is None else transform(gradients)
            return projector.project(gradients).unflatten(0, (len(noised_images), -1))
        work = [(x, group) for x in noised_images for group in self._groups(x, reduction)]
        sink = projector.sink(self.layers, self._factors(work))
        self.accumulate(work, sink)
        features = sink.features()
        if not math.isfinite(features.sum().item()):
            for piece, row in zip(work, features, strict=True):
                if not math.isfinite(row.sum().item()):  # compute it again to name the layer
                    self._require_finite([piece], self.mean_gradients([piece]))
                    raise NumericsError(
                        f"The gradient of image {piece[0].image_id} is finite, but its projection "
                        "overflows: its values are too large to be added up. Use another "
                        "precision, or reduction='mean' of the objective."
                    )
        return features.unflatten(0, (len(noised_images), -1))

    def mean_gradients(self, work: Sequence[EvaluationGroup]) -> list[Tensor]:
        """Compute gradients of mean objectives, float32 of shape `(len(work), d_l)` per layer."""
        sums = GradientAccumulator(self.layers, self.two_sided, self._factors(work))
        self.accumulate(work, sums)
        return sums.layers()

    @abstractmethod
    def accumulate(self, work: Sequence[EvaluationGroup], sink: GradientSink) -> None:
        """Add the gradients of summed objectives to a sink, pass by pass."""

    def _groups(self, noised: NoisedBatch, reduction: Reduction) -> list[Tensor]:
        """Split evaluations into those of each gradient that has to be computed by itself."""
        u, r = len(noised.t), noised.draws
        if reduction == "timesteps" or self.normalize == "timestep":
            return [torch.arange(i, i + r) for i in range(0, u, r)]
        return list(noised.halves()) if reduction == "halves" else [torch.arange(u)]

    def _factors(self, work: Sequence[EvaluationGroup]) -> Tensor:
        """Return the factors that turn sums of gradients into means of the objective's."""
        counts = torch.tensor([len(group) for _, group in work], device=self.denoiser.device)
        return 1 / (counts * self.scale)

    def _require_finite(self, work: Sequence[EvaluationGroup], means: list[Tensor]) -> None:
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

    def _combine(
        self, units: list[Tensor], noised: NoisedBatch, reduction: Reduction
    ) -> list[Tensor]:
        """Reduce an image's gradients to shape `(units, d_l)` per layer."""
        if self.normalize == "timestep":
            units = _normalize(units, noised)
            if reduction == "halves":
                return [torch.stack([x[::2].mean(0), x[1::2].mean(0)]) for x in units]
            if reduction == "mean":
                return [x.mean(0, keepdim=True) for x in units]
        return units


def _normalize(units: list[Tensor], noised: NoisedBatch) -> list[Tensor]:
    """Divide each timestep's gradient by its norm over all layers."""
    squares = torch.stack([layer.double().square().sum(1) for layer in units])
    norms = squares.sum(0).sqrt()
    if not (norms > 0).all():
        i = int(norms.argmin())
        raise NumericsError(
            f"Image {noised.image_id} has gradient norm {norms[i].item()} at timestep "
            f"{int(noised.t[i * noised.draws])}, so it cannot be normalized. Use normalize='none' "
            "or other timesteps."
        )
    return [layer / norms.float()[:, None] for layer in units]
