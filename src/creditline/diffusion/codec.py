"""The codec: images to latents and back by an autoencoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from creditline import fingerprint
from creditline.diffusion.weights import fingerprint_weights
from creditline.errors import ModelError
from creditline.fingerprint import key64


class Codec(ABC):
    """A frozen autoencoder in float32 with its pipeline's scaling of latents.

    Latents are `(z - shift) * scale`. A subclass says how its class of autoencoders is called.

    Args:
        vae: the autoencoder.
        mode: take the posterior's mean, or one sample of it.
        seed: seed of the posterior samples.

    Attributes:
        channels: channels of the latents.
        factor: pixels per latent along height and width.

    Raises:
        ModelError: if `mode` is "sample" and the autoencoder has no posterior.
    """

    def __init__(self, vae: Any, mode: Literal["mode", "sample"] = "mode", seed: int = 0) -> None:
        self.vae = vae.eval().requires_grad_(False).float()
        self.mode, self.seed = mode, seed
        config = vae.config
        self.channels: int = config.latent_channels
        self.factor = self.downsampling(config)
        self.scale = torch.tensor(float(config.scaling_factor))
        self.shift = torch.tensor(float(config.get("shift_factor") or 0.0))
        if config.get("latents_mean") is not None and config.get("latents_std") is not None:
            self.shift = torch.tensor(config.latents_mean).view(-1, 1, 1)
            self.scale = self.scale / torch.tensor(config.latents_std).view(-1, 1, 1)

    @classmethod
    def downsampling(cls, config: Mapping[str, Any]) -> int:
        """Return the pixels per latent along height and width.

        Args:
            config: config of the autoencoder.
        """
        return 2 ** (len(config["block_out_channels"]) - 1)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights, scaling and mode. Computed once: the autoencoder is frozen."""
        scaling = [self.scale.flatten().tolist(), self.shift.flatten().tolist()]
        draws = [self.mode, self.seed if self.mode == "sample" else None]
        description = fingerprint.of_json([type(self.vae).__name__, scaling, draws])
        return fingerprint.of_bytes(fingerprint_weights(self.vae).encode(), description.encode())

    @torch.no_grad()
    def encode(self, pixels: Tensor, key: str, device: torch.device) -> Tensor:
        """Encode one image, alone in its batch, so that its latents depend on no other image.

        Args:
            pixels: shape `(3, H, W)` in [-1, 1].
            key: content hash of the image, which keys its posterior sample.
            device: where to compute.

        Returns:
            Latents, float32 of shape `(C, H / factor, W / factor)`, on the CPU.

        Raises:
            ModelError: if the autoencoder's configuration does not fit its layers.
        """
        try:
            z = self._encode(self.vae.to(device), pixels[None].float().to(device), key)
        except (TypeError, ValueError) as error:
            raise ModelError(
                f"The autoencoder ({type(self.vae).__name__}) cannot encode an image: {error}. "
                "Check its config.json, or load the model from where it came from."
            ) from error
        return (z - self.shift) * self.scale

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents to images, shape `(b, 3, H, W)`, on the device of the latents."""
        device = latents.device
        z = latents.float() / self.scale.to(device) + self.shift.to(device)
        return self.vae.to(device).decode(z).sample

    @abstractmethod
    def _encode(self, vae: Any, pixels: Tensor, key: str) -> Tensor:
        """Return the unscaled latents of a batch of one image, without the batch, on the CPU."""


class KLCodec(Codec):
    """`AutoencoderKL`, whose latents have a normal posterior."""

    def _encode(self, vae: Any, pixels: Tensor, key: str) -> Tensor:
        posterior = vae.encode(pixels).latent_dist
        z = posterior.mean[0].cpu()
        if self.mode == "sample":
            z = z + posterior.std[0].cpu() * self._draw_noise(key, tuple(z.shape))
        return z

    def _draw_noise(self, key: str, shape: tuple[int, ...]) -> Tensor:
        philox = np.random.Philox(key=key64("vae", self.seed, key))
        normal = np.random.Generator(philox).standard_normal(shape, dtype=np.float32)
        return torch.from_numpy(normal)


class DeterministicCodec(Codec):
    """An autoencoder without a posterior."""

    def __init__(self, vae: Any, mode: Literal["mode", "sample"] = "mode", seed: int = 0) -> None:
        if mode == "sample":
            raise ModelError(
                f"This autoencoder ({type(vae).__name__}) has no posterior to draw from. Use "
                "vae='mode' (--vae mode)."
            )
        super().__init__(vae, mode, seed)
