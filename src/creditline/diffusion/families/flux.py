"""FLUX.1: a transformer on packed latents and a rectified flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from creditline.diffusion.euler import EulerSampler
from creditline.diffusion.families.network import ConditionSpec
from creditline.diffusion.families.text import TextDenoiser
from creditline.diffusion.flow import FlowProcess

SIDE = 128  # of the latents: the pipeline's default, as the network's config has no size
TOKENS = 512


class Flux(TextDenoiser):
    """Black Forest Labs, 2024, as in diffusers.

    Latents are noised as the autoencoder returns them; only the network sees them packed, two by
    two. Its time input is `sigma`. A network distilled with a guidance embedding (FLUX.1-dev) takes
    `EncodingConfig.embedded_guidance` as an input and has no negative prompt.
    """

    pipelines = ("FluxPipeline",)
    networks = ("FluxTransformer2DModel",)
    component = "transformer"
    process_class = FlowProcess
    sampler = EulerSampler()
    encoder_suffixes = ("", "_2")
    patch_size = 2

    def __init__(self, module: Any, *args: Any) -> None:
        super().__init__(module, *args)
        self.default_guidance = 3.5 if module.config.guidance_embeds else 1.0

    @classmethod
    def condition_specs(
        cls, config: Any, prompt_tokens: int | None = None
    ) -> Mapping[str, ConditionSpec]:
        hidden = ConditionSpec((prompt_tokens or TOKENS, config.joint_attention_dim))
        pooled = ConditionSpec((config.pooled_projection_dim,))
        guidance = {"guidance": ConditionSpec(())} if config.guidance_embeds else {}
        return {"encoder_hidden_states": hidden, "pooled_projections": pooled, **guidance}

    def encode_conditions(
        self, inputs: Sequence[Any], guidance: float | None = None
    ) -> dict[str, Tensor]:
        condition = super().encode_conditions(inputs)
        if self.module.config.guidance_embeds:
            value = self.encoding.embedded_guidance if guidance is None else guidance
            condition["guidance"] = torch.full((len(inputs),), float(value))
        return condition

    def encode_unconditional(
        self, n: int, negative_prompt: str | None = None
    ) -> dict[str, Tensor] | None:
        if self.module.config.guidance_embeds:
            return None
        return super().encode_unconditional(n, negative_prompt)

    def _channels(self) -> int:
        return self.module.config.in_channels // 4

    def _native_size(self) -> tuple[int, int]:
        return SIDE, SIDE

    def _max_tokens(self, suffix: str) -> int:
        if suffix == "_2":
            return self.encoding.prompt_tokens or TOKENS
        return int(self.pipeline.tokenizer_max_length)

    def _encode_prompt(self, prompt: str) -> dict[str, Tensor]:
        hidden, pooled, _ = self.pipeline.encode_prompt(
            prompt, device=self.device, max_sequence_length=self._max_tokens("_2")
        )
        return {"encoder_hidden_states": hidden, "pooled_projections": pooled}

    def _forward(self, x_t: Tensor, time: Tensor, condition: dict[str, Tensor]) -> Tensor:
        _, _, height, width = x_t.shape
        positions = torch.zeros(height // 2, width // 2, 3, device=x_t.device, dtype=x_t.dtype)
        positions[..., 1] = torch.arange(height // 2, device=x_t.device)[:, None]
        positions[..., 2] = torch.arange(width // 2, device=x_t.device)
        tokens = condition["encoder_hidden_states"].shape[1]
        output = self.module(
            pack(x_t),
            timestep=time.to(x_t.dtype) / 1000,
            img_ids=positions.flatten(0, 1),
            txt_ids=positions.new_zeros(tokens, 3),
            guidance=condition.get("guidance"),
            encoder_hidden_states=condition["encoder_hidden_states"],
            pooled_projections=condition["pooled_projections"],
        ).sample
        return unpack(output, height, width)


def pack(x: Tensor) -> Tensor:
    """Pack latents `(b, C, H, W)` to tokens `(b, H/2 W/2, 4C)`, one per square of two by two."""
    squares = x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))  # (b, C, H/2, 2, W/2, 2)
    return squares.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """Invert `pack`."""
    squares = tokens.unflatten(2, (-1, 2, 2)).unflatten(1, (height // 2, width // 2))
    return squares.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)
