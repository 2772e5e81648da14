"""Losses of images under a model, for methods that compute them at query time."""

from __future__ import annotations

import torch
from torch import Tensor

from creditline.data.image_set import ImageSet
from creditline.diffusion.denoiser import Denoiser
from creditline.gradients.caption_turns import expand_images
from creditline.gradients.noise_plan import NoisePlan, Role
from creditline.gradients.objective import Objective


def image_losses(
    model: Denoiser,
    images: ImageSet,
    plan: NoisePlan,
    role: Role = "train",
    objective: Objective | None = None,
) -> Tensor:
    """Mean objective of each image over the timesteps and draws of a noise plan.

    The result is differentiable with respect to the weights, except within `torch.no_grad()`.

    Args:
        model: the network and its process.
        images: the images.
        plan: timesteps and noise.
        role: training images or queries; decides the noise.
        objective: the training loss by default.

    Returns:
        Shape `(b,)`, on the model's device.

    Raises:
        SettingsError: if an image has more captions than evaluations.
    """
    objective = objective or Objective()
    losses = []
    for noised in expand_images(model, images, range(len(images)), plan, role):
        x = noised.to(model.device, model.dtype)
        output = model.predict(model.process.add_noise(x.x0, x.noise, x.t), x.t, x.condition)
        losses.append(objective(model.process, output, x.x0, x.noise, x.t).mean())
    return torch.stack(losses)
