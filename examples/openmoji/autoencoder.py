"""Train the autoencoder, whose latents have a twelfth of an image's numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch.nn.functional import mse_loss
from untrained_pipeline import autoencoder

from creditline.data.image_set import ImageSet
from creditline.diffusion.training_state import NAME as STATE
from creditline.diffusion.training_state import TrainingState
from creditline.fingerprint import key64
from creditline.runtime import Runtime
from creditline.runtime.threads import single_thread

BATCH = 16
RATE = 2e-3
KL = 1e-6
WARMUP = 50
SAVE_EVERY = 100


def train_autoencoder(images: ImageSet, out: Path, steps: int, seed: int = 0) -> None:
    """Train to the last step. Interrupt it at any time; the same call continues.

    The scaling factor becomes one over the standard deviation of the images' latents.

    Args:
        images: images of one size.
        out: folder in diffusers format.
        steps: optimizer steps.
        seed: seed of weights, order and noise.
    """
    if (out / "config.json").is_file():
        return
    out.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng([]), single_thread():
        torch.manual_seed(seed)
        vae = autoencoder(images.shape[-1])
        _train(vae, images, out, steps, seed)
        vae.register_to_config(scaling_factor=float(1 / _latents(vae, images).std()))
    vae.save_pretrained(out)
    (out / STATE).unlink(missing_ok=True)


def _train(vae: AutoencoderKL, images: ImageSet, out: Path, steps: int, seed: int) -> None:
    optimizer = torch.optim.AdamW(vae.parameters(), lr=RATE, weight_decay=0.0, fused=True)
    state = TrainingState(vae, optimizer)
    state.load(out)
    with Runtime().progress("autoencoder", steps, "step", done=state.step) as bar:
        while state.step < steps:
            step = state.step
            generator = np.random.Generator(np.random.Philox(key=key64("vae", seed, step)))
            x = images.pixels(generator.integers(len(images), size=BATCH))
            posterior = vae.encode(x).latent_dist
            noise = generator.standard_normal(posterior.mean.shape, dtype=np.float32)
            decoded = vae.decode(posterior.mean + posterior.std * torch.from_numpy(noise)).sample
            loss = mse_loss(decoded, x) + KL * posterior.kl().mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
            optimizer.param_groups[0]["lr"] = RATE * min(
                1.0, (step + 1) / WARMUP, 2 * (steps - step) / steps
            )
            state.advance()
            bar.advance(1, loss=f"{loss.item():.4f}")
            if state.step % SAVE_EVERY == 0:
                state.save(out)


@torch.no_grad()
def _latents(vae: AutoencoderKL, images: ImageSet) -> torch.Tensor:
    every = range(0, len(images), 4)
    return torch.cat([vae.encode(images.pixels([i])).latent_dist.mode() for i in every])
