"""Probes: an image expanded into everything the network is shown of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    """The predicted clean images of one sampling run.

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
        weight: of the objective's elements, float32 of shape `(u, 1, h, w)` and mean 1 over the
            places, where only a part of the image counts.
    """

    image_id: str
    x0: Tensor
    t: Tensor
    noise: Tensor
    condition: dict[str, Tensor]
    draws: int
    weight: Tensor | None = None

    def __getitem__(self, part: Tensor | slice) -> NoisedBatch:
        """Some evaluations of the image."""
        return NoisedBatch(
            self.image_id,
            self.x0[part],
            self.t[part],
            self.noise[part],
            {name: value[part] for name, value in self.condition.items()},
            self.draws,
            None if self.weight is None else self.weight[part],
        )

    def to(self, device: torch.device, dtype: torch.dtype) -> NoisedBatch:
        """On a device, clean images and noise in another floating type."""
        return NoisedBatch(
            self.image_id,
            self.x0.to(device, dtype),
            self.t.to(device),
            self.noise.to(device, dtype),
            {name: value.to(device) for name, value in self.condition.items()},
            self.draws,
            None if self.weight is None else self.weight.to(device),
        )

    def halves(self) -> tuple[Tensor, Tensor]:
        """Positions of the evaluations in two halves that share no noise.

        A chequerboard over timesteps and draws: with an even number of draws both halves see every
        timestep equally often, with one draw they take turns.

        Raises:
            SettingsError: with a single evaluation.
        """
        u = len(self.t)
        require(
            u >= 2,
            "Two halves of the noise need two evaluations of an image",
            u,
            "Ask for more timesteps or draws, or for no halves (halves=False, --no-halves).",
        )
        places = torch.arange(u)
        black = (places // self.draws + places % self.draws) % 2 == 0
        return places[black], places[~black]


def join(probes: Sequence[NoisedBatch]) -> NoisedBatch:
    """The evaluations of several probes as one batch."""
    names = probes[0].condition
    return NoisedBatch(
        ", ".join(probe.image_id for probe in probes),
        torch.cat([probe.x0 for probe in probes]),
        torch.cat([probe.t for probe in probes]),
        torch.cat([probe.noise for probe in probes]),
        {name: torch.cat([probe.condition[name] for probe in probes]) for name in names},
        probes[0].draws,
        _joined_weights(probes),
    )


def _joined_weights(probes: Sequence[NoisedBatch]) -> Tensor | None:
    """Weights of all evaluations, ones where all of an image counts."""
    if all(probe.weight is None for probe in probes):
        return None
    return torch.cat(
        [
            torch.ones_like(probe.x0[:, :1], dtype=torch.float32)
            if probe.weight is None
            else probe.weight
            for probe in probes
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
    """One probe for each image of a batch, on the CPU: a pass is moved to its device as a whole.

    Args:
        denoiser: gives the process.
        batch: encoded images.
        plan: timesteps and noise.
        role: side of the attribution.
        trajectories: one per image; needed by a `trajectory` plan only.
        masks: one per image, where only a part of it counts.

    Raises:
        DataError: if a trajectory plan meets an image without a trajectory.
    """
    nothing = (None,) * len(batch.ids)
    each = zip(trajectories or nothing, masks or nothing, strict=True)
    return [
        _expand_one(denoiser, batch, i, plan, role, run, mask) for i, (run, mask) in enumerate(each)
    ]


def _expand_one(
    denoiser: Denoiser,
    batch: Batch,
    i: int,
    plan: NoisePlan,
    role: Role,
    run: Trajectory | None,
    mask: Mask | None,
) -> NoisedBatch:
    image_id = batch.ids[i]
    if plan.schedule == "trajectory":
        if run is None:
            raise DataError(
                f"This method scores pictures along their sampling run; picture {image_id} has "
                "none. Generate with the trajectory kept (creditline generate --trajectory)."
            )
        steps = np.asarray(run.timesteps, dtype=np.int64)
        x0 = torch.from_numpy(np.ascontiguousarray(run.x0, dtype=np.float32))
    else:
        steps = plan.grid(denoiser.process.n_timesteps, role, image_id)
        x0 = batch.x0[i].unsqueeze(0).expand(len(steps), *batch.x0[i].shape)
    noise = torch.from_numpy(plan.noise(steps, tuple(x0.shape[1:]), role, image_id))
    condition = {
        name: value[i : i + 1].expand(len(steps) * plan.draws, *value.shape[1:])
        for name, value in batch.condition.items()
    }
    weight = None
    if mask is not None:
        places = torch.from_numpy(mask.on((x0.shape[-2], x0.shape[-1])))
        weight = places.expand(len(steps) * plan.draws, 1, -1, -1)
    return NoisedBatch(
        image_id=image_id,
        x0=x0.repeat_interleave(plan.draws, dim=0),
        t=torch.from_numpy(steps).repeat_interleave(plan.draws),
        noise=noise.flatten(0, 1),
        condition=condition,
        draws=plan.draws,
        weight=weight,
    )
