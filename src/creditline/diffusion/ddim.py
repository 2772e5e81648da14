"""Sampling, one seed per picture: DDIM, or Euler steps along a rectified flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from creditline.diffusion.denoiser import Denoiser
from creditline.diffusion.euler import euler
from creditline.diffusion.flow import FlowProcess
from creditline.diffusion.guidance import GuidedDenoiser
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
    prompts: Sequence[str] | None = None,
    negative: str | None = None,
    guidance: float | None = None,
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """DDIM sampling (Song et al., 2021); of a rectified flow, Euler steps.

    Args:
        denoiser: the model.
        seeds: one per picture, of its initial noise.
        steps: sampler steps.
        eta: 0 is deterministic.
        labels: class of each picture, for class-conditional models.
        prompts: of each picture, for models that read them.
        negative: a prompt to be led away from.
        guidance: scale of classifier-free guidance; 1 is without; None: the pipeline's own.

    Returns:
        Pictures, uint8 of shape `(b, H, W, C)`, and their trajectories: timesteps of shape `(s,)`,
        predicted clean pixels, in [-1, 1], or latents, float32 of shape `(b, s, C, H, W)`.

    Raises:
        SettingsError: if there are more steps than timesteps, a seed is too large, or the model
            cannot be guided as asked.
        NumericsError: if the model's output is not finite, or does not imply an image (noise
            predicted where no signal is left).
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

    def noise() -> Tensor:
        rows = [torch.randn(denoiser.sample_shape, generator=g) for g in generators]
        return torch.stack(rows).to(denoiser.device, denoiser.dtype)

    wanted: Sequence[Any] = labels or prompts or [None] * len(seeds)
    guided = GuidedDenoiser(denoiser, wanted, guidance, negative)
    if isinstance(process, FlowProcess):
        require(eta == 0, "A rectified flow is followed without noise: eta is 0", eta, "Use 0.")
        x, timesteps, kept = euler(guided, process, noise(), steps)
    else:
        x, timesteps, kept = _ddim(guided, noise, steps, eta)
    if not x.isfinite().all():
        raise NumericsError(
            "The sampled pictures are not finite: the model's weights are damaged, or its dtype "
            "too narrow. Load it in float32, or from another checkpoint."
        )
    values = ((denoiser.decode(x).float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    pictures = values.permute(0, 2, 3, 1).cpu().numpy()
    runs = np.stack([x0.float().cpu().numpy() for x0 in kept], axis=1)
    return pictures, (np.asarray(timesteps, dtype=np.int64), runs)


def _ddim(guided: GuidedDenoiser, noise: Any, steps: int, eta: float) -> tuple[Tensor, list, list]:
    """Clean pixels or latents, the timesteps, and what was predicted of them at each."""
    from diffusers import DDIMScheduler

    process, on_pixels = guided.denoiser.process, _on_pixels(guided.denoiser)
    # Latents know no bounds, and schedulers of other kinds than DDIM's say nothing of any.
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
    x = noise() * scheduler.init_noise_sigma
    kept = []
    for t in scheduler.timesteps:
        output = guided.predict(x, torch.full((len(x),), int(t), device=x.device))
        extra = noise() if eta > 0 else None
        step = scheduler.step(output, t, x, eta=eta, variance_noise=extra)
        x = step.prev_sample
        x0 = step.pred_original_sample
        kept.append(x0.float().clamp(-1, 1) if on_pixels else x0)
    return x, scheduler.timesteps.tolist(), kept


def _on_pixels(denoiser: Denoiser) -> bool:
    return getattr(denoiser, "codec", None) is None
