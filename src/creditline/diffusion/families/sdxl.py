"""Stable Diffusion XL: two text encoders, a pooled embedding and the picture's size."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from creditline.diffusion.families.text import TextDenoiser
from creditline.errors import ModelError


class StableDiffusionXL(TextDenoiser):
    """Podell et al., ICLR 2024.

    The size conditions are those of an uncropped picture of the size that the model is shown:
    `(H, W, 0, 0, H, W)`, as its pipeline has them by default.

    Raises:
        ModelError: if the network takes other added conditions, as the refiner does.
    """

    pipelines = ("StableDiffusionXLPipeline",)
    networks = ("UNet2DConditionModel",)
    readers = ("", "_2")
    usual_guidance = 5.0

    def __init__(self, module: Any, *rest: Any) -> None:
        super().__init__(module, *rest)
        pooled = self.pipeline.text_encoder_2.config.projection_dim
        wanted = 6 * (module.config.addition_time_embed_dim or 0) + pooled
        takes = getattr(getattr(module, "add_embedding", None), "linear_1", None)
        if takes is None or takes.in_features != wanted:
            raise ModelError(
                "This UNet does not take SDXL's added conditions (size, crop and target size with "
                "the pooled embedding of the second text encoder). Refiners are not supported."
            )

    def unconditional(self, n: int, negative: str | None = None) -> dict[str, Tensor] | None:
        found = self.conditions([negative or ""] * n)
        if negative is None and self.pipeline.config.force_zeros_for_empty_prompt:
            for name in ("encoder_hidden_states", "text_embeds"):
                found[name] = torch.zeros_like(found[name])
        return found

    def _prompt(self, prompt: str) -> dict[str, Tensor]:
        hidden, _, pooled, _ = self.pipeline.encode_prompt(
            prompt, device=self.device, do_classifier_free_guidance=False
        )
        height, width = self.image_shape[1:]
        ids = torch.tensor([[height, width, 0, 0, height, width]], dtype=torch.float32)
        return {"encoder_hidden_states": hidden, "text_embeds": pooled, "time_ids": ids}

    def _call(self, x_t: Tensor, time: Tensor, condition: dict[str, Tensor]) -> Tensor:
        hidden = condition["encoder_hidden_states"]
        added = {name: condition[name] for name in ("text_embeds", "time_ids")}
        return self.module(x_t, time, hidden, added_cond_kwargs=added).sample
