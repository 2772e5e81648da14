"""Residuals of images: how far the network's outputs are from their targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from creditline.data.image_set import ImageSet
from creditline.diffusion.denoiser import Denoiser
from creditline.errors import NumericsError
from creditline.features.extractor import FeatureExtractor
from creditline.gradients.autograd_engine import AutogradEngine
from creditline.gradients.caption_turns import expand_images
from creditline.gradients.noise_plan import Reduction, Role
from creditline.gradients.noised_batch import NoisedBatch
from creditline.gradients.objective import Objective
from creditline.gradients.spec import FeatureSpec
from creditline.gradients.split_half import half_sizes, mean_and_error
from creditline.runtime.determinism import exact_kernels
from creditline.runtime.threads import single_thread

if TYPE_CHECKING:
    from creditline.gradients.noised_batch import Trajectory

PASS = 16
"""Evaluations of a pass without a batch size; passes keep nothing for gradients."""


class ResidualExtractor(FeatureExtractor):
    """Root mean squared errors of the network's output, averaged over evaluations.

    Two numbers of an image: the mean error, and the mean after all errors are divided by their
    Euclidean norm, as the released code of DAS does. Queries have none: they get zeros.

    Args:
        denoisers: one, several checkpoints, or an ensemble.
        spec: noise plan, precision and halves of the gradients beside which residuals are stored.
    """

    kind: ClassVar = "residuals"
    dim = 2

    def __init__(self, denoisers: Sequence[Denoiser], spec: FeatureSpec) -> None:
        self.denoisers, self.spec = tuple(denoisers), spec
        self.models = len(self.denoisers)
        self.has_halves = spec.has_halves

    def to_device(self, device: str) -> ResidualExtractor:
        """Move the models to a device."""
        for denoiser in self.denoisers:
            denoiser.to(device)
        return self

    def check(self, images: ImageSet) -> None:
        """Refuse images that do not fit the models."""
        for denoiser in self.denoisers:
            denoiser.check(images)

    def extract(
        self,
        images: ImageSet,
        indices: Sequence[int],
        role: Role = "train",
        trajectories: Sequence[Trajectory | None] | None = None,
        reduction: Reduction = "mean",
    ) -> np.ndarray:
        """Compute residuals, float32 of shape `(b, units, C, 2)`.

        Raises:
            NumericsError: if an error is not finite.
        """
        plan = self.spec.plan
        if role == "query":
            units = {"mean": 1, "halves": 2, "timesteps": plan.timesteps}[reduction]
            return np.zeros((len(indices), units, self.models, self.dim), np.float32)
        each = []
        is_tf32 = self.spec.precision == "tf32"
        with single_thread(), exact_kernels(self.denoisers[0].device, is_tf32), torch.no_grad():
            for denoiser in self.denoisers:
                noised = expand_images(denoiser, images, indices, plan, role, trajectories)
                rows = np.stack([self._residuals(denoiser, one, reduction) for one in noised])
                if reduction == "halves":
                    rows = mean_and_error(rows, half_sizes(noised, self.spec.normalize))
                each.append(rows)
        return np.stack(each, axis=2).astype(np.float32)

    def _residuals(
        self, denoiser: Denoiser, noised: NoisedBatch, reduction: Reduction
    ) -> np.ndarray:
        """Compute the residuals of one image, float64 of shape `(units, 2)`."""
        roots = training_losses(denoiser, noised, self.spec).sqrt()
        return np.stack([_both(roots[group]) for group in self._groups(noised, reduction)])

    def _groups(self, noised: NoisedBatch, reduction: Reduction) -> list[Tensor]:
        """Split evaluations into those of each unit, as the gradients' engine does."""
        positions = torch.arange(len(noised.t))
        steps = positions // noised.draws
        if reduction == "timesteps":
            return list(positions.split(noised.draws))
        if reduction == "mean":
            return [positions]
        if self.spec.normalize == "timestep":
            return [positions[steps % 2 == half] for half in range(2)]
        return list(noised.halves())


def training_losses(denoiser: Denoiser, noised: NoisedBatch, spec: FeatureSpec) -> Tensor:
    """Compute the training loss of each evaluation of an image, float64 of shape `(u,)`.

    Args:
        denoiser: the network and its process.
        noised: the evaluations.
        spec: precision and size of passes.

    Raises:
        NumericsError: if one is not finite.
    """
    size = spec.batch_size or PASS
    engine = AutogradEngine(denoiser, (), Objective(), precision=spec.precision)
    losses = torch.cat(
        [
            engine.values(noised[slice(start, start + size)]).double().cpu()
            for start in range(0, len(noised.t), size)
        ]
    )
    if not torch.isfinite(losses).all():
        raise NumericsError(
            f"The loss of image {noised.image_id} is not finite. Run `creditline doctor` on the "
            "model; float32 is the safe choice."
        )
    return losses


def mean_loss(
    denoiser: Denoiser, images: ImageSet, spec: FeatureSpec, count: int
) -> tuple[float, int]:
    """Average the training loss over some images, spread evenly over a set.

    Args:
        denoiser: the network and its process.
        images: the set.
        spec: noise plan, precision and size of passes.
        count: most images.

    Returns:
        The mean loss, and the number of elements of an output.

    Raises:
        NumericsError: if a loss is not finite.
    """
    some = min(count, len(images))
    rows = [i * len(images) // some for i in range(some)]
    is_tf32 = spec.precision == "tf32"
    total, outputs = 0.0, 0
    with single_thread(), exact_kernels(denoiser.device, is_tf32), torch.no_grad():
        for row in rows:
            (noised,) = expand_images(denoiser, images, [row], spec.plan, "train")
            total += float(training_losses(denoiser, noised, spec).mean())
            outputs = noised.noise[0].numel()
    return total / some, outputs


def _both(roots: Tensor) -> np.ndarray:
    """Mean root mean squared error, plain and relative to the norm of all."""
    mean, norm = float(roots.mean()), float(roots.norm())
    return np.array([mean, mean / norm if norm > 0 else 0.0])
