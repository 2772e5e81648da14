"""Stable Diffusion 1.x and 2.x: a U-Net on latents with cross-attention to CLIP's states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from creditline.diffusion.families.network import ConditionSpec
from creditline.diffusion.families.text import CLIP_TOKENS, TextDenoiser


class StableDiffusion(TextDenoiser):
    """Rombach et al., CVPR 2022. 2.x at 768 pixels predicts v, as its scheduler records."""

    pipelines = ("StableDiffusionPipeline",)
    networks = ("UNet2DConditionModel",)
    default_guidance = 7.5

    @classmethod
    def matches_network(cls, config: Mapping[str, Any]) -> bool:
        # With added conditions it is SDXL's.
        plain = config.get("addition_embed_type") != "text_time"
        return super().matches_network(config) and plain

    @classmethod
    def condition_specs(
        cls, config: Any, prompt_tokens: int | None = None
    ) -> Mapping[str, ConditionSpec]:
        hidden = ConditionSpec((prompt_tokens or CLIP_TOKENS, config.cross_attention_dim))
        return {"encoder_hidden_states": hidden}

    def _encode_prompt(self, prompt: str) -> dict[str, Tensor]:
        hidden, _ = self.pipeline.encode_prompt(prompt, self.device, 1, False)
        return {"encoder_hidden_states": hidden}

    def _forward(self, x_t: Tensor, time: Tensor, condition: dict[str, Tensor]) -> Tensor:
        return self.module(x_t, time, **condition).sample
