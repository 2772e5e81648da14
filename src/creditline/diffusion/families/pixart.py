"""PixArt-alpha and PixArt-sigma: a transformer on latents that attends to T5's hidden states."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from creditline.diffusion.families.latent import mean_half
from creditline.diffusion.families.text import TextDenoiser

TOKENS = {"PixArtAlphaPipeline": 120, "PixArtSigmaPipeline": 300}


class PixArt(TextDenoiser):
    """Chen et al., ICLR 2024 (alpha) and ECCV 2024 (sigma)."""

    pipelines = tuple(TOKENS)
    networks = ("PixArtTransformer2DModel", "Transformer2DModel")
    part = "transformer"
    usual_guidance = 4.5

    def __init__(self, module: Any, *rest: Any) -> None:
        self.patch = module.config.patch_size
        super().__init__(module, *rest)

    def _room(self, suffix: str) -> int:
        return self.encoding.prompt_tokens or TOKENS[type(self.pipeline).__name__]

    def _prompt(self, prompt: str) -> dict[str, Tensor]:
        hidden, mask, _, _ = self.pipeline.encode_prompt(
            prompt,
            do_classifier_free_guidance=False,
            device=self.device,
            max_sequence_length=self._room(""),
        )
        return {"encoder_hidden_states": hidden, "encoder_attention_mask": mask}

    def _call(self, x_t: Tensor, time: Tensor, condition: dict[str, Tensor]) -> Tensor:
        added: dict[str, Any] = {"resolution": None, "aspect_ratio": None}
        if self.module.use_additional_conditions:
            height, width = self.image_shape[1:]
            n = len(x_t)
            added = {
                "resolution": x_t.new_tensor([height, width]).expand(n, 2),
                "aspect_ratio": x_t.new_tensor([height / width]).expand(n, 1),
            }
        output = self.module(x_t, timestep=time, added_cond_kwargs=added, **condition).sample
        return mean_half(output, x_t.shape[1])
