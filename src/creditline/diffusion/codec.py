"""Codec: pictures to latents and back by a pipeline's autoencoder."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from creditline import fingerprint
from creditline.diffusion.weights import fingerprint_of
from creditline.errors import ModelError
from creditline.fingerprint import key64


class Codec:
    """A frozen autoencoder in float32, with the scaling that its pipeline applies.

    Latents are `(z - shift) * scale`. `AutoencoderKL` has a posterior, of which the mean or one
    draw is taken; the draw's noise depends on the seed and the picture alone. `VQModel` has none,
    and its latents are those before quantization, as `LDMPipeline` has them.

    Args:
        vae: the autoencoder.
        mode: take the posterior's mean, or a draw from it.
        seed: of the draws.

    Attributes:
        channels: of the latents.
        factor: pixels per latent on a side.
    """

    def __init__(self, vae: Any, mode: Literal["mode", "sample"] = "mode", seed: int = 0) -> None:
        self.vae = vae.eval().requires_grad_(False).float()
        self.mode, self.seed = mode, seed
        config = vae.config
        self.channels: int = config.latent_channels
        self.factor = 2 ** (len(config.block_out_channels) - 1)
        self.scale = torch.tensor(float(config.scaling_factor))
        self.shift = torch.tensor(float(config.get("shift_factor") or 0.0))
        if config.get("latents_mean") is not None and config.get("latents_std") is not None:
            self.shift = torch.tensor(config.latents_mean).view(-1, 1, 1)
            self.scale = self.scale / torch.tensor(config.latents_std).view(-1, 1, 1)
        if mode == "sample" and type(vae).__name__ == "VQModel":
            raise ModelError(
                "This autoencoder (VQModel) has no posterior to draw from. Use vae='mode' (--vae "
                "mode)."
            )

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights, scaling and mode. Computed once: the autoencoder is frozen."""
        scaling = [self.scale.flatten().tolist(), self.shift.flatten().tolist()]
        draws = [self.mode, self.seed if self.mode == "sample" else None]
        about = fingerprint.of_json([type(self.vae).__name__, scaling, draws])
        return fingerprint.of_bytes(fingerprint_of(self.vae).encode(), about.encode())

    @torch.no_grad()
    def encode(self, pixels: Tensor, key: str, device: torch.device) -> Tensor:
        """Latents of one picture, alone in its batch so that no other can change a bit of them.

        Args:
            pixels: shape `(3, H, W)` in [-1, 1].
            key: the picture's content hash, for its draw.
            device: where to compute.

        Returns:
            float32 of shape `(C, H / factor, W / factor)`, on the CPU.
        """
        found = self.vae.to(device).encode(pixels[None].float().to(device))
        if not hasattr(found, "latent_dist"):
            z = found.latents[0].cpu()
        else:
            z = found.latent_dist.mean[0].cpu()
            if self.mode == "sample":
                z = z + found.latent_dist.std[0].cpu() * self._noise(key, tuple(z.shape))
        return (z - self.shift) * self.scale

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Pictures of shape `(b, 3, H, W)`, about [-1, 1], where the latents are."""
        device = latents.device
        z = latents.float() / self.scale.to(device) + self.shift.to(device)
        return self.vae.to(device).decode(z).sample

    def _noise(self, key: str, shape: tuple[int, ...]) -> Tensor:
        philox = np.random.Philox(key=key64("vae", self.seed, key))
        normal = np.random.Generator(philox).standard_normal(shape, dtype=np.float32)
        return torch.from_numpy(normal)
