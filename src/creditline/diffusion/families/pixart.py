"""PixArt-alpha and PixArt-sigma: transformers on latents with cross-attention to T5's states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from creditline.diffusion.families.latent import drop_variance
from creditline.diffusion.families.network import ConditionSpec
from creditline.diffusion.families.text import TextDenoiser

TOKENS = {"PixArtAlphaPipeline": 120, "PixArtSigmaPipeline": 300}


class PixArt(TextDenoiser):
    """Chen et al., ICLR 2024 (alpha) and ECCV 2024 (sigma)."""

    pipelines = tuple(TOKENS)
    networks = ("PixArtTransformer2DModel", "Transformer2DModel")
    component = "transformer"
    default_guidance = 4.5

    def __init__(self, module: Any, *args: Any) -> None:
        self.patch_size = module.config.patch_size
        super().__init__(module, *args)

    @classmethod
    def matches_network(cls, config: Mapping[str, Any]) -> bool:
        # Older versions of diffusers have one class for this family and DiT.
        own = config.get("_class_name") != "Transformer2DModel"
        return super().matches_network(config) and (
            own or config.get("norm_type") == "ada_norm_single"
        )

    @classmethod
    def condition_specs(
        cls, config: Any, prompt_tokens: int | None = None
    ) -> Mapping[str, ConditionSpec]:
        alpha = config.use_additional_conditions
        tokens = prompt_tokens or TOKENS[cls.pipelines[0 if alpha else 1]]
        return {
            "encoder_hidden_states": ConditionSpec((tokens, config.caption_channels)),
            "encoder_attention_mask": ConditionSpec((tokens,), torch.int64),
        }

    def _max_tokens(self, suffix: str) -> int:
        return self.encoding.prompt_tokens or TOKENS[type(self.pipeline).__name__]

    def _encode_prompt(self, prompt: str) -> dict[str, Tensor]:
        hidden, mask, _, _ = self.pipeline.encode_prompt(
            prompt,
            do_classifier_free_guidance=False,
            device=self.device,
            max_sequence_length=self._max_tokens(""),
        )
        return {"encoder_hidden_states": hidden, "encoder_attention_mask": mask}

    def _forward(self, x_t: Tensor, time: Tensor, condition: dict[str, Tensor]) -> Tensor:
        added: dict[str, Any] = {"resolution": None, "aspect_ratio": None}
        if self.module.use_additional_conditions:
            height, width = self.image_shape[1:]
            n = len(x_t)
            added = {
                "resolution": x_t.new_tensor([height, width]).expand(n, 2),
                "aspect_ratio": x_t.new_tensor([height / width]).expand(n, 1),
            }
        output = self.module(x_t, timestep=time, added_cond_kwargs=added, **condition).sample
        return drop_variance(output, x_t.shape[1])
