"""Training the autoencoder: pictures back from a sixteenth of their numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from blank import autoencoder
from diffusers import AutoencoderKL
from torch.nn.functional import mse_loss

from creditline.data.image_set import ImageSet
from creditline.diffusion.state import NAME as STATE
from creditline.diffusion.state import TrainState
from creditline.fingerprint import key64
from creditline.manifest import Manifest, circumstances, claim
from creditline.progress import Progress

STEPS = 1500
BATCH = 16
RATE = 2e-3
KL = 1e-6
SAVE_EVERY = 100


def train_autoencoder(images: ImageSet, out: Path, seed: int = 0) -> AutoencoderKL:
    """Train until the last step; stopped at any time, the same call goes on.

    The scaling factor becomes one over the standard deviation of the images' latents.

    Args:
        images: pictures of one size.
        out: folder, which receives `vae/`.
        seed: of weights and order.
    """
    request = {"images": images.fingerprint, "steps": STEPS, "batch": BATCH, "rate": RATE, "kl": KL}
    manifest = Manifest("autoencoder", {**request, "seed": seed}, circumstances())
    if not claim(manifest, out):
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            vae = autoencoder(images.shape[-1])
            _train(vae, images, out, seed)
        vae.register_to_config(scaling_factor=float(1 / _latents(vae, images).std()))
        vae.save_pretrained(out / "vae")
        replace(manifest, status="complete").write(out)
        (out / STATE).unlink(missing_ok=True)
    return AutoencoderKL.from_pretrained(out / "vae")


def _train(vae: AutoencoderKL, images: ImageSet, out: Path, seed: int) -> None:
    optimizer = torch.optim.AdamW(vae.parameters(), lr=RATE, weight_decay=0.0)
    state = TrainState(vae, optimizer)
    state.load(out)
    with Progress("autoencoder", STEPS, "step", done=state.step) as bar:
        while state.step < STEPS:
            step = state.step
            generator = np.random.Generator(np.random.Philox(key=key64("step", seed, step)))
            x = images.pixels(generator.integers(len(images), size=BATCH))
            posterior = vae.encode(x).latent_dist
            noise = generator.standard_normal(posterior.mean.shape, dtype=np.float32)
            decoded = vae.decode(posterior.mean + posterior.std * torch.from_numpy(noise)).sample
            loss = mse_loss(decoded, x) + KL * posterior.kl().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.param_groups[0]["lr"] = RATE * min(1.0, (STEPS - step) / (STEPS / 2))
            state.advance()
            bar.advance(1, loss=f"{loss.item():.4f}")
            if state.step % SAVE_EVERY == 0:
                state.save(out)


@torch.no_grad()
def _latents(vae: AutoencoderKL, images: ImageSet) -> torch.Tensor:
    every = range(0, len(images), 4)
    return torch.cat([vae.encode(images.pixels([i])).latent_dist.mode() for i in every])
