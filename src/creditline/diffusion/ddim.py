"""DDIM sampling, one seed per picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from creditline.diffusion.denoiser import Denoiser
from creditline.errors import NumericsError
from creditline.settings import require

SEEDS = 2**32  # torch's CPU generator keeps the lower 32 bits: larger seeds would repeat pictures


@torch.no_grad()
def sample(
    denoiser: Denoiser,
    seeds: Sequence[int],
    *,
    steps: int = 50,
    eta: float = 0.0,
    labels: Sequence[int] | None = None,
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """DDIM sampling (Song et al., 2021).

    Args:
        denoiser: the model.
        seeds: one per picture, of its initial noise.
        steps: sampler steps.
        eta: 0 is deterministic.
        labels: class of each picture, for class-conditional models.

    Returns:
        Pictures, uint8 of shape `(b, H, W, C)`, and their trajectories: timesteps of shape `(s,)`,
        predicted x0 in [-1, 1], float32 of shape `(b, s, C, H, W)`.

    Raises:
        SettingsError: if there are more steps than timesteps, or a seed is too large.
        NumericsError: if the model's output is not finite, or does not imply an image (noise
            predicted where no signal is left).
    """
    from diffusers import DDIMScheduler

    process = denoiser.process
    require(
        steps <= process.n_timesteps,
        f"The model has {process.n_timesteps} timesteps to sample along",
        steps,
        "Use fewer steps.",
    )
    require(
        all(0 <= seed < SEEDS for seed in seeds),
        f"Seeds run from 0 to {SEEDS - 1}",
        max(seeds),
        "Use smaller seeds.",
    )
    scheduler = DDIMScheduler.from_config(process.config)
    scheduler.set_timesteps(steps)
    if process.prediction == "epsilon":
        signal, _ = process.signal_noise(scheduler.timesteps)
        if (signal == 0).any():
            raise NumericsError(
                "This model predicts noise and its process ends in nothing but noise (zero "
                "terminal SNR), from which no image follows. Use its scheduler with "
                'timestep_spacing="leading", or a model with v-prediction.'
            )
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    device, dtype = denoiser.device, denoiser.dtype

    def noise() -> torch.Tensor:
        rows = [torch.randn(denoiser.sample_shape, generator=g) for g in generators]
        return torch.stack(rows).to(device, dtype)

    x = noise() * scheduler.init_noise_sigma
    condition = {} if labels is None else {"class_labels": torch.tensor(labels, device=device)}
    kept = []
    for t in scheduler.timesteps:
        times = torch.full((len(seeds),), int(t), device=device)
        output = denoiser.predict(x, times, condition)
        extra = noise() if eta > 0 else None
        step = scheduler.step(output, t, x, eta=eta, variance_noise=extra)
        x = step.prev_sample
        kept.append(step.pred_original_sample.float().clamp(-1, 1).cpu().numpy())
    if not x.isfinite().all():
        raise NumericsError(
            "The sampled pictures are not finite: the model's weights are damaged, or its dtype "
            "too narrow. Load it in float32, or from another checkpoint."
        )
    values = ((x.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    pictures = values.permute(0, 2, 3, 1).cpu().numpy()
    return pictures, (scheduler.timesteps.numpy().astype(np.int64), np.stack(kept, axis=1))
