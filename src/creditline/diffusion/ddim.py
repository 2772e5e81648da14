"""DDIM sampling of discrete processes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from creditline.diffusion.sampler import Predictor, Sampler, SamplingPath
from creditline.errors import NumericsError


class DDIMSampler(Sampler):
    """Denoising diffusion implicit models (Song et al., ICLR 2021)."""

    name = "DDIM"

    def sample(
        self, predictor: Predictor, draw_noise: Callable[[], Tensor], steps: int, eta: float
    ) -> SamplingPath:
        from diffusers import DDIMScheduler

        process, on_pixels = predictor.process, predictor.on_pixels
        # Latents have no bounds, and the configs of other schedulers than DDIM do not say so.
        bounded = on_pixels or "clip_sample" in process.config
        unbounded = {} if bounded else {"clip_sample": False}
        scheduler = DDIMScheduler.from_config(process.config, **unbounded)
        scheduler.set_timesteps(steps)
        if process.prediction == "epsilon":
            signal, _ = process.signal_noise(scheduler.timesteps)
            if (signal == 0).any():
                raise NumericsError(
                    "This model predicts noise and its process ends in nothing but noise (zero "
                    "terminal SNR), from which no image follows. Use its scheduler with "
                    'timestep_spacing="leading", or a model with v-prediction.'
                )
        x = draw_noise() * scheduler.init_noise_sigma
        estimates = []
        for t in scheduler.timesteps:
            output = predictor.predict(x, torch.full((len(x),), int(t), device=x.device))
            noise = draw_noise() if eta > 0 else None
            step = scheduler.step(output, t, x, eta=eta, variance_noise=noise)
            x = step.prev_sample
            x0 = step.pred_original_sample
            estimates.append(x0.float().clamp(-1, 1) if on_pixels else x0)
        return SamplingPath(x, scheduler.timesteps.tolist(), estimates)
