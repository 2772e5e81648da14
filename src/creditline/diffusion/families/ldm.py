"""Unconditional latent diffusion: a U-Net on the latents of a VQ autoencoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from creditline.diffusion.codec import DeterministicCodec
from creditline.diffusion.families.latent import LatentDenoiser
from creditline.errors import ModelError


class VQCodec(DeterministicCodec):
    """`VQModel`. Latents are those before quantization, as in `LDMPipeline`."""

    def _encode(self, vae: Any, pixels: Tensor, key: str) -> Tensor:
        return vae.encode(pixels).latents[0].cpu()


class LatentDiffusion(LatentDenoiser):
    """Rombach et al., CVPR 2022, section 4.1, as in `LDMPipeline`.

    Raises:
        ModelError: if the network is class-conditional, which the pipeline is not.
    """

    pipelines = ("LDMPipeline",)
    networks = ("UNet2DModel",)
    vae_component = "vqvae"
    codec_class = VQCodec

    def __init__(self, module: Any, *args: Any) -> None:
        if module.config.get("num_class_embeds") or module.config.get("class_embed_type"):
            raise ModelError("LDMPipeline is unconditional; its network is conditional on classes.")
        super().__init__(module, *args)

    @classmethod
    def matches_network(cls, config: Mapping[str, Any]) -> bool:
        return False  # without its pipeline, it is a network on pixels

    def _forward(self, x_t: Tensor, time: Tensor, condition: dict[str, Tensor]) -> Tensor:
        return self.module(x_t, time).sample
