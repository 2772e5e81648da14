"""Stable Diffusion 3: a transformer that sees latents and text jointly, on a rectified flow."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from creditline.diffusion.families.text import TextDenoiser
from creditline.diffusion.flow import FlowProcess


class StableDiffusion3(TextDenoiser):
    """Esser et al., ICML 2024. The third text encoder, T5, may be missing: zeros take its place."""

    pipelines = ("StableDiffusion3Pipeline",)
    networks = ("SD3Transformer2DModel",)
    part = "transformer"
    process_kind = FlowProcess
    readers = ("", "_2", "_3")
    optional = ("_3",)
    usual_guidance = 7.0

    def __init__(self, module: Any, *rest: Any) -> None:
        self.patch = module.config.patch_size
        super().__init__(module, *rest)

    def _room(self, suffix: str) -> int:
        if suffix == "_3":
            return self.encoding.prompt_tokens or 256
        return int(self.pipeline.tokenizer_max_length)

    def _prompt(self, prompt: str) -> dict[str, Tensor]:
        hidden, _, pooled, _ = self.pipeline.encode_prompt(
            prompt,
            None,
            None,
            device=self.device,
            do_classifier_free_guidance=False,
            max_sequence_length=self._room("_3"),
        )
        return {"encoder_hidden_states": hidden, "pooled_projections": pooled}

    def _call(self, x_t: Tensor, time: Tensor, condition: dict[str, Tensor]) -> Tensor:
        return self.module(x_t, timestep=time.to(x_t.dtype), **condition).sample
