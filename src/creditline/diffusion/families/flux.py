"""FLUX.1: a transformer on packed latents, on a rectified flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from creditline.diffusion.families.text import TextDenoiser
from creditline.diffusion.flow import FlowProcess

SIDE = 128  # of the latents: the pipeline's default, as the network's config has no size


class Flux(TextDenoiser):
    """Black Forest Labs, 2024, as diffusers has it.

    Latents are noised as they come from the autoencoder and packed, two by two, for the network
    alone. The network is told `sigma`; where it was distilled to take guidance (FLUX.1-dev), it is
    told `EncodingConfig.embedded_guidance`, and takes no negative prompt.
    """

    pipelines = ("FluxPipeline",)
    networks = ("FluxTransformer2DModel",)
    part = "transformer"
    process_kind = FlowProcess
    readers = ("", "_2")
    patch = 2

    def __init__(self, module: Any, *rest: Any) -> None:
        super().__init__(module, *rest)
        self.usual_guidance = 3.5 if module.config.guidance_embeds else 1.0

    def conditions(self, wanted: Sequence[Any], guidance: float | None = None) -> dict[str, Tensor]:
        found = super().conditions(wanted)
        if self.module.config.guidance_embeds:
            told = self.encoding.embedded_guidance if guidance is None else guidance
            found["guidance"] = torch.full((len(wanted),), float(told))
        return found

    def unconditional(self, n: int, negative: str | None = None) -> dict[str, Tensor] | None:
        return None if self.module.config.guidance_embeds else super().unconditional(n, negative)

    def _channels(self) -> int:
        return self.module.config.in_channels // 4

    def _sides(self) -> tuple[int, int]:
        return SIDE, SIDE

    def _room(self, suffix: str) -> int:
        if suffix == "_2":
            return self.encoding.prompt_tokens or 512
        return int(self.pipeline.tokenizer_max_length)

    def _prompt(self, prompt: str) -> dict[str, Tensor]:
        hidden, pooled, _ = self.pipeline.encode_prompt(
            prompt, device=self.device, max_sequence_length=self._room("_2")
        )
        return {"encoder_hidden_states": hidden, "pooled_projections": pooled}

    def _call(self, x_t: Tensor, time: Tensor, condition: dict[str, Tensor]) -> Tensor:
        _, _, height, width = x_t.shape
        places = torch.zeros(height // 2, width // 2, 3, device=x_t.device, dtype=x_t.dtype)
        places[..., 1] = torch.arange(height // 2, device=x_t.device)[:, None]
        places[..., 2] = torch.arange(width // 2, device=x_t.device)
        words = condition["encoder_hidden_states"].shape[1]
        output = self.module(
            pack(x_t),
            timestep=time.to(x_t.dtype) / 1000,
            img_ids=places.flatten(0, 1),
            txt_ids=places.new_zeros(words, 3),
            guidance=condition.get("guidance"),
            encoder_hidden_states=condition["encoder_hidden_states"],
            pooled_projections=condition["pooled_projections"],
        ).sample
        return unpack(output, height, width)


def pack(x: Tensor) -> Tensor:
    """`(b, C, H, W)` as `(b, H/2 W/2, 4C)`: squares of two by two become one token."""
    squares = x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))  # (b, C, H/2, 2, W/2, 2)
    return squares.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """The inverse of `pack`."""
    squares = tokens.unflatten(2, (-1, 2, 2)).unflatten(1, (height // 2, width // 2))
    return squares.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)
