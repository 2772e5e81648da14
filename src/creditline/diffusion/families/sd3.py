"""Stable Diffusion 3: a transformer with joint attention to text, on a rectified flow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from creditline.diffusion.euler import EulerSampler
from creditline.diffusion.families.network import ConditionSpec
from creditline.diffusion.families.text import CLIP_TOKENS, TextDenoiser
from creditline.diffusion.flow import FlowProcess

T5_TOKENS = 256


class StableDiffusion3(TextDenoiser):
    """Esser et al., ICML 2024. T5, the third text encoder, may be missing; zeros replace it."""

    pipelines = ("StableDiffusion3Pipeline",)
    networks = ("SD3Transformer2DModel",)
    component = "transformer"
    process_class = FlowProcess
    sampler = EulerSampler()
    encoder_suffixes = ("", "_2", "_3")
    optional_suffixes = ("_3",)
    default_guidance = 7.0

    def __init__(self, module: Any, *args: Any) -> None:
        self.patch_size = module.config.patch_size
        super().__init__(module, *args)

    @classmethod
    def condition_specs(
        cls, config: Any, prompt_tokens: int | None = None
    ) -> Mapping[str, ConditionSpec]:
        tokens = CLIP_TOKENS + T5_TOKENS if prompt_tokens is None else prompt_tokens
        return {
            "encoder_hidden_states": ConditionSpec((tokens, config.joint_attention_dim)),
            "pooled_projections": ConditionSpec((config.pooled_projection_dim,)),
        }

    def _max_tokens(self, suffix: str) -> int:
        if suffix == "_3":
            return self.encoding.prompt_tokens or T5_TOKENS
        return int(self.pipeline.tokenizer_max_length)

    def _encode_prompt(self, prompt: str) -> dict[str, Tensor]:
        hidden, _, pooled, _ = self.pipeline.encode_prompt(
            prompt,
            None,
            None,
            device=self.device,
            do_classifier_free_guidance=False,
            max_sequence_length=self._max_tokens("_3"),
        )
        return {"encoder_hidden_states": hidden, "pooled_projections": pooled}

    def _forward(self, x_t: Tensor, time: Tensor, condition: dict[str, Tensor]) -> Tensor:
        return self.module(x_t, timestep=time.to(x_t.dtype), **condition).sample
