"""An image expanded into everything that the network evaluates for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from creditline.data.mask import Mask
from creditline.diffusion.denoiser import Batch, Denoiser
from creditline.errors import DataError
from creditline.gradients.noise_plan import NoisePlan, Role
from creditline.settings import require


@dataclass(frozen=True)
class Trajectory:
    """The predicted clean images of one sampling trajectory.

    Attributes:
        timesteps: the sampler's timesteps, int64 of shape `(t,)`, noisiest first.
        x0: predicted x0 at each of them, float32 of shape `(t, ...)`.
    """

    timesteps: np.ndarray
    x0: np.ndarray


@dataclass(frozen=True)
class NoisedBatch:
    """All evaluations of one image, timestep-major: `u = t * r` of them.

    Attributes:
        image_id: content hash of the image.
        x0: clean images, shape `(u, ...)`.
        t: timesteps, int64 of shape `(u,)`.
        noise: shape of `x0`.
        condition: conditioning tensors, each of shape `(u, ...)`.
        draws: evaluations per timestep, r.
        weight: of the objective's elements, float32 of shape `(u, 1, ..., h, w)` with mean 1 over
            positions; None: all elements count equally.
        output_gradient: gradient of the value that is differentiated with respect to the network's
            output, shape of `x0`; it replaces the objective. None: the objective's.
    """

    image_id: str
    x0: Tensor
    t: Tensor
    noise: Tensor
    condition: dict[str, Tensor]
    draws: int
    weight: Tensor | None = None
    output_gradient: Tensor | None = None

    def __getitem__(self, part: Tensor | slice) -> NoisedBatch:
        """Select some evaluations of the image."""
        return NoisedBatch(
            self.image_id,
            self.x0[part],
            self.t[part],
            self.noise[part],
            {name: value[part] for name, value in self.condition.items()},
            self.draws,
            None if self.weight is None else self.weight[part],
            None if self.output_gradient is None else self.output_gradient[part],
        )

    def to(self, device: torch.device, dtype: torch.dtype) -> NoisedBatch:
        """Move to a device; clean images and noise to a floating-point type."""
        return NoisedBatch(
            self.image_id,
            self.x0.to(device, dtype),
            self.t.to(device),
            self.noise.to(device, dtype),
            {name: value.to(device) for name, value in self.condition.items()},
            self.draws,
            None if self.weight is None else self.weight.to(device),
            None if self.output_gradient is None else self.output_gradient.to(device, dtype),
        )

    def mirror(self, which: np.ndarray) -> NoisedBatch:
        """Mirror the clean images of some evaluations, and their weights.

        Args:
            which: bool of shape `(u,)`.
        """
        if not which.any():
            return self
        selection = torch.from_numpy(which)

        def mirrored(samples: Tensor) -> Tensor:
            shape = (-1, *[1] * (samples.ndim - 1))
            return torch.where(selection.view(shape), samples.flip(-1), samples)

        weight = None if self.weight is None else mirrored(self.weight)
        return replace(self, x0=mirrored(self.x0), weight=weight)

    def halves(self) -> tuple[Tensor, Tensor]:
        """Split evaluations into two halves that share no noise; returns positions of either.

        Halves alternate over timesteps and draws. With an even number of draws both halves have
        every timestep equally often; with one draw they have every other timestep.

        Raises:
            SettingsError: with a single evaluation.
        """
        u = len(self.t)
        require(
            u >= 2,
            "A split-half noise estimate needs two evaluations of an image",
            u,
            "Ask for more timesteps or draws, or for no halves (halves=False, --no-halves).",
        )
        positions = torch.arange(u)
        is_first = (positions // self.draws + positions % self.draws) % 2 == 0
        return positions[is_first], positions[~is_first]


def join(noised_images: Sequence[NoisedBatch]) -> NoisedBatch:
    """Concatenate the evaluations of several images; all have output gradients, or none."""
    names = noised_images[0].condition
    output_gradients = [x.output_gradient for x in noised_images if x.output_gradient is not None]
    return NoisedBatch(
        ", ".join(noised.image_id for noised in noised_images),
        torch.cat([noised.x0 for noised in noised_images]),
        torch.cat([noised.t for noised in noised_images]),
        torch.cat([noised.noise for noised in noised_images]),
        {name: torch.cat([noised.condition[name] for noised in noised_images]) for name in names},
        noised_images[0].draws,
        _joined_weights(noised_images),
        torch.cat(output_gradients) if output_gradients else None,
    )


def _joined_weights(noised_images: Sequence[NoisedBatch]) -> Tensor | None:
    """Concatenate weights, with ones for images without weights."""
    if all(noised.weight is None for noised in noised_images):
        return None
    return torch.cat(
        [
            torch.ones(
                len(noised.t),
                *[1] * (noised.x0.ndim - 3),
                *noised.x0.shape[-2:],
                device=noised.x0.device,
            )
            if noised.weight is None
            else noised.weight
            for noised in noised_images
        ]
    )


def expand(
    denoiser: Denoiser,
    batch: Batch,
    plan: NoisePlan,
    role: Role,
    trajectories: Sequence[Trajectory | None] | None = None,
    masks: Sequence[Mask | None] | None = None,
) -> list[NoisedBatch]:
    """Add noise to each image of a batch, on the CPU; each pass is moved to its device later.

    Args:
        denoiser: gives the process.
        batch: encoded images.
        plan: timesteps and noise.
        role: training images or queries.
        trajectories: one per image; needed by a `trajectory` plan only.
        masks: one per image, None where all of it counts.

    Raises:
        DataError: if a trajectory plan meets an image without a trajectory.
    """
    absent = (None,) * len(batch.ids)
    each = zip(trajectories or absent, masks or absent, strict=True)
    return [
        _expand_one(denoiser, batch, i, plan, role, trajectory, mask)
        for i, (trajectory, mask) in enumerate(each)
    ]


def mask_weight(mask: Mask, shape: Sequence[int], evaluations: int) -> Tensor:
    """Return the weight of the objective's elements under a mask; see `NoisedBatch.weight`.

    Args:
        mask: of an image.
        shape: of its samples, `(..., h, w)`.
        evaluations: of the image.
    """
    weights = torch.from_numpy(mask.on((shape[-2], shape[-1])))
    ones = [1] * (len(shape) - 2)  # channels, and frames of a video
    return weights.expand(evaluations, *ones, -1, -1)


def _expand_one(
    denoiser: Denoiser,
    batch: Batch,
    i: int,
    plan: NoisePlan,
    role: Role,
    trajectory: Trajectory | None,
    mask: Mask | None,
) -> NoisedBatch:
    image_id = batch.ids[i]
    if plan.schedule == "trajectory":
        if trajectory is None:
            raise DataError(
                f"This method scores query images along their sampling trajectory; {image_id} has "
                "none. Generate with the trajectory kept (creditline generate --trajectory)."
            )
        steps = np.asarray(trajectory.timesteps, dtype=np.int64)
        x0 = torch.from_numpy(np.ascontiguousarray(trajectory.x0, dtype=np.float32))
    else:
        steps = plan.grid(denoiser.process.n_timesteps, role, image_id)
        x0 = batch.x0[i].unsqueeze(0).expand(len(steps), *batch.x0[i].shape)
    noise = torch.from_numpy(plan.noise(steps, tuple(x0.shape[1:]), role, image_id))
    condition = {
        name: value[i : i + 1].expand(len(steps) * plan.draws, *value.shape[1:])
        for name, value in batch.condition.items()
    }
    evaluations = len(steps) * plan.draws
    weight = None if mask is None else mask_weight(mask, x0.shape[1:], evaluations)
    noised = NoisedBatch(
        image_id=image_id,
        x0=x0.repeat_interleave(plan.draws, dim=0),
        t=torch.from_numpy(steps).repeat_interleave(plan.draws),
        noise=noise.flatten(0, 1),
        condition=condition,
        draws=plan.draws,
        weight=weight,
    )
    return noised.mirror(plan.mirrored(evaluations)) if role == "train" else noised
