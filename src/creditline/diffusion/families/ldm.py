"""Unconditional latent diffusion: a UNet on the latents of a VQ autoencoder."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from creditline.diffusion.families.latent import LatentDenoiser
from creditline.errors import ModelError


class LatentDiffusion(LatentDenoiser):
    """Rombach et al., CVPR 2022, section 4.1, as `LDMPipeline` has it.

    Raises:
        ModelError: if the network is class-conditional, which that pipeline is not.
    """

    pipelines = ("LDMPipeline",)
    networks = ("UNet2DModel",)
    vae_part = "vqvae"

    def __init__(self, module: Any, *rest: Any) -> None:
        if module.config.get("num_class_embeds") or module.config.get("class_embed_type"):
            raise ModelError("LDMPipeline is unconditional; its network is conditional on classes.")
        super().__init__(module, *rest)

    def _call(self, x_t: Tensor, time: Tensor, condition: dict[str, Tensor]) -> Tensor:
        return self.module(x_t, time).sample
