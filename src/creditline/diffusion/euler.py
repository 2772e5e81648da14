"""Euler steps along a rectified flow, on the noise levels that its network was trained on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from creditline.diffusion.flow import FlowProcess
from creditline.diffusion.guidance import GuidedDenoiser
from creditline.settings import require

TOKEN = 4  # latents per token, which the shift for a picture's size is reckoned in


def euler(
    guided: GuidedDenoiser, process: FlowProcess, x: Tensor, steps: int
) -> tuple[Tensor, list, list]:
    """Follow the velocity from noise to image.

    Args:
        guided: predicts the velocity.
        process: the flow.
        x: noise, shape `(b, C, H, W)`.
        steps: how many.

    Returns:
        Clean latents, the timesteps, and the predicted clean latents of each step.

    Raises:
        SettingsError: if two steps fall on one noise level.
    """
    timesteps = schedule(process, x.shape[-2] * x.shape[-1] // TOKEN, steps)
    levels = [*process.sigmas[timesteps].tolist(), 0.0]
    kept = []
    for i, t in enumerate(timesteps.tolist()):
        velocity = guided.predict(x, torch.full((len(x),), t, device=x.device))
        kept.append(x - levels[i] * velocity)
        x = x + (levels[i + 1] - levels[i]) * velocity
    return x, timesteps.tolist(), kept


def schedule(process: FlowProcess, tokens: int, steps: int) -> np.ndarray:
    """Timesteps of a sampling run, noisiest first, int64.

    They are those of the scheduler, moved to the nearest noise level of the training, so that a
    trajectory has timesteps that the network knows. Where the scheduler shifts them by the size of
    the picture, the shift is linear in the number of tokens, as FLUX has it.
    """
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler.from_config(process.config)
    config = scheduler.config
    if config.use_dynamic_shifting:
        low, high = config.base_image_seq_len, config.max_image_seq_len
        slope = (config.max_shift - config.base_shift) / (high - low)
        shift = config.base_shift + slope * (tokens - low)
        scheduler.set_timesteps(sigmas=np.linspace(1.0, 1.0 / steps, steps).tolist(), mu=shift)
    else:
        scheduler.set_timesteps(steps)
    found = process.nearest(scheduler.sigmas[:-1].double().numpy())
    require(
        bool((np.diff(found) < 0).all()),
        "Steps must fall on different noise levels of the training",
        steps,
        "Use fewer steps.",
    )
    return found
