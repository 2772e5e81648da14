"""Sampling images, one seed per image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from creditline.diffusion.denoiser import Denoiser
from creditline.diffusion.guidance import GuidedDenoiser
from creditline.errors import NumericsError
from creditline.settings import require

SEEDS = 2**32  # torch's CPU generator keeps the lower 32 bits: larger seeds would repeat images


@torch.no_grad()
def sample(
    denoiser: Denoiser,
    seeds: Sequence[int],
    *,
    steps: int = 50,
    eta: float = 0.0,
    labels: Sequence[int] | None = None,
    prompts: Sequence[str] | None = None,
    negative_prompt: str | None = None,
    guidance: float | None = None,
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Sample images with the denoiser's own sampler.

    Args:
        denoiser: the model.
        seeds: one per image, of its initial noise.
        steps: number of sampler steps.
        eta: amount of noise that a DDIM step adds; 0 is deterministic.
        labels: class of each image, for class-conditional models.
        prompts: prompt of each image, for text-conditional models.
        negative_prompt: replaces the empty prompt in classifier-free guidance.
        guidance: scale of classifier-free guidance; 1 is without; None: the pipeline's default.

    Returns:
        Images, uint8 of shape `(b, H, W, 3)`, and their trajectories: timesteps, int64 of shape
        `(s,)`, and estimates of the clean samples, float32 of shape `(b, s, *sample_shape)`.

    Raises:
        SettingsError: if there are more steps than timesteps, a seed is too large, or the model
            does not support the guidance.
        NumericsError: if the model's output is not finite, or does not imply an image.
    """
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
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def draw_noise() -> Tensor:
        rows = [torch.randn(denoiser.sample_shape, generator=g) for g in generators]
        return torch.stack(rows).to(denoiser.device, denoiser.dtype)

    inputs: Sequence[Any] = labels or prompts or [None] * len(seeds)
    guided = GuidedDenoiser(denoiser, inputs, guidance, negative_prompt)
    path = denoiser.sampler.sample(guided, draw_noise, steps, eta)
    if not path.x0.isfinite().all():
        raise NumericsError(
            "The sampled images are not finite: the model's weights are damaged, or its dtype "
            "too narrow. Load it in float32, or from another checkpoint."
        )
    pixels = ((denoiser.decode(path.x0).float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    images = pixels.permute(0, 2, 3, 1).cpu().numpy()
    estimates = np.stack([x0.float().cpu().numpy() for x0 in path.estimates], axis=1)
    return images, (np.asarray(path.timesteps, dtype=np.int64), estimates)
