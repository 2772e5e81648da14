"""Euler sampling of rectified flows, on the noise levels of the training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from creditline.diffusion.flow import FlowProcess
from creditline.diffusion.sampler import Predictor, Sampler, SamplingPath
from creditline.settings import require

TOKEN = 4  # latents per token, the unit of the resolution-dependent shift of noise levels


class EulerSampler(Sampler):
    """Euler steps along the velocity of a rectified flow."""

    name = "Euler"

    def sample(
        self, predictor: Predictor, draw_noise: Callable[[], Tensor], steps: int, eta: float
    ) -> SamplingPath:
        require(eta == 0, "A rectified flow is followed without noise: eta is 0", eta, "Use 0.")
        process: Any = predictor.process
        x = draw_noise()
        timesteps = euler_timesteps(process, x.shape[-2] * x.shape[-1] // TOKEN, steps)
        levels = [*process.sigmas[timesteps].tolist(), 0.0]
        estimates = []
        for i, t in enumerate(timesteps.tolist()):
            velocity = predictor.predict(x, torch.full((len(x),), t, device=x.device))
            estimates.append(x - levels[i] * velocity)
            x = x + (levels[i + 1] - levels[i]) * velocity
        return SamplingPath(x, timesteps.tolist(), estimates)


def euler_timesteps(process: FlowProcess, tokens: int, steps: int) -> np.ndarray:
    """Return the timesteps of a sampling run, noisiest first, int64 of shape `(steps,)`.

    They are the scheduler's own, rounded to the nearest noise level of the training, so that a
    trajectory has timesteps on which the network was trained. Some schedulers shift noise levels
    by the image's resolution; that shift is linear in the number of tokens, as in FLUX.

    Raises:
        SettingsError: if two steps have the same noise level.
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
    timesteps = process.nearest_timesteps(scheduler.sigmas[:-1].double().numpy())
    require(
        bool((np.diff(timesteps) < 0).all()),
        "Steps must fall on different noise levels of the training",
        steps,
        "Use fewer steps.",
    )
    return timesteps
