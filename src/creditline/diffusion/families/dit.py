"""DiT: a class-conditional transformer on latents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from creditline.data.image_set import ImageSet
from creditline.diffusion.denoiser import check_labels
from creditline.diffusion.families.latent import LatentDenoiser, drop_variance
from creditline.diffusion.families.network import ConditionSpec


class DiT(LatentDenoiser):
    """Peebles & Xie, ICCV 2023. The predicted variance, if any, is not part of the loss."""

    pipelines = ("DiTPipeline",)
    networks = ("DiTTransformer2DModel", "Transformer2DModel")
    component = "transformer"
    default_guidance = 4.0

    def __init__(self, module: Any, *args: Any) -> None:
        self.patch_size = module.config.patch_size
        super().__init__(module, *args)
        self.n_classes = int(module.config.num_embeds_ada_norm)

    @classmethod
    def matches_network(cls, config: Mapping[str, Any]) -> bool:
        # Older versions of diffusers have one class for this family and PixArt.
        return super().matches_network(config) and config.get("norm_type") != "ada_norm_single"

    @classmethod
    def condition_specs(
        cls, config: Any, prompt_tokens: int | None = None
    ) -> Mapping[str, ConditionSpec]:
        return {"class_labels": ConditionSpec((), torch.int64)}

    def check(self, images: ImageSet) -> None:
        super().check(images)
        check_labels(images.labels, int(self.n_classes or 0))

    def condition_input(self, images: ImageSet, i: int) -> int | None:
        return images.labels[i]

    def encode_unconditional(
        self, n: int, negative_prompt: str | None = None
    ) -> dict[str, Tensor] | None:
        null = torch.full((n,), int(self.n_classes or 0))  # the embedding after the last class
        return {"class_labels": null}

    def _encode_condition(self, value: Any) -> dict[str, Tensor]:
        check_labels([value], int(self.n_classes or 0))
        return {"class_labels": torch.tensor(value)}

    def _forward(self, x_t: Tensor, time: Tensor, condition: dict[str, Tensor]) -> Tensor:
        output = self.module(x_t, timestep=time, **condition).sample
        return drop_variance(output, x_t.shape[1])
