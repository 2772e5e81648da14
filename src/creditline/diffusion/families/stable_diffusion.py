"""Stable Diffusion 1.x and 2.x: a UNet on latents that attends to CLIP's hidden states."""

from __future__ import annotations

from torch import Tensor

from creditline.diffusion.families.text import TextDenoiser


class StableDiffusion(TextDenoiser):
    """Rombach et al., CVPR 2022. 2.x at 768 pixels predicts v; the scheduler says so."""

    pipelines = ("StableDiffusionPipeline",)
    networks = ("UNet2DConditionModel",)
    usual_guidance = 7.5

    def _prompt(self, prompt: str) -> dict[str, Tensor]:
        hidden, _ = self.pipeline.encode_prompt(prompt, self.device, 1, False)
        return {"encoder_hidden_states": hidden}

    def _call(self, x_t: Tensor, time: Tensor, condition: dict[str, Tensor]) -> Tensor:
        return self.module(x_t, time, **condition).sample
