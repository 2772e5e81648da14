"""Stable Diffusion XL: a U-Net with two text encoders, a pooled embedding and size conditions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from creditline.diffusion.families.network import ConditionSpec
from creditline.diffusion.families.text import CLIP_TOKENS, TextDenoiser
from creditline.errors import ModelError


class StableDiffusionXL(TextDenoiser):
    """Podell et al., ICLR 2024.

    The size conditions are those of an uncropped image of the model's own size,
    `(H, W, 0, 0, H, W)`, which are the pipeline's defaults.

    Raises:
        ModelError: if the network takes other added conditions, as the refiner does.
    """

    pipelines = ("StableDiffusionXLPipeline",)
    networks = ("UNet2DConditionModel",)
    encoder_suffixes = ("", "_2")
    default_guidance = 5.0

    def __init__(self, module: Any, *args: Any) -> None:
        super().__init__(module, *args)
        pooled = self.pipeline.text_encoder_2.config.projection_dim
        expected = 6 * (module.config.addition_time_embed_dim or 0) + pooled
        layer = getattr(getattr(module, "add_embedding", None), "linear_1", None)
        if layer is None or layer.in_features != expected:
            raise ModelError(
                "This UNet does not take SDXL's added conditions (size, crop and target size with "
                "the pooled embedding of the second text encoder). Refiners are not supported."
            )

    @classmethod
    def matches_network(cls, config: Mapping[str, Any]) -> bool:
        extended = config.get("addition_embed_type") == "text_time"
        return super().matches_network(config) and extended

    @classmethod
    def condition_specs(
        cls, config: Any, prompt_tokens: int | None = None
    ) -> Mapping[str, ConditionSpec]:
        tokens = prompt_tokens or CLIP_TOKENS
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        return {
            "encoder_hidden_states": ConditionSpec((tokens, config.cross_attention_dim)),
            "text_embeds": ConditionSpec((pooled,)),
            "time_ids": ConditionSpec((6,)),
        }

    def encode_unconditional(
        self, n: int, negative_prompt: str | None = None
    ) -> dict[str, Tensor] | None:
        condition = self.encode_conditions([negative_prompt or ""] * n)
        if negative_prompt is None and self.pipeline.config.force_zeros_for_empty_prompt:
            for name in ("encoder_hidden_states", "text_embeds"):
                condition[name] = torch.zeros_like(condition[name])
        return condition

    def _encode_prompt(self, prompt: str) -> dict[str, Tensor]:
        hidden, _, pooled, _ = self.pipeline.encode_prompt(
            prompt, device=self.device, do_classifier_free_guidance=False
        )
        height, width = self.image_shape[1:]
        ids = torch.tensor([[height, width, 0, 0, height, width]], dtype=torch.float32)
        return {"encoder_hidden_states": hidden, "text_embeds": pooled, "time_ids": ids}

    def _forward(self, x_t: Tensor, time: Tensor, condition: dict[str, Tensor]) -> Tensor:
        hidden = condition["encoder_hidden_states"]
        added = {name: condition[name] for name in ("text_embeds", "time_ids")}
        return self.module(x_t, time, hidden, added_cond_kwargs=added).sample
