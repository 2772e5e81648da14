"""DiT: a transformer on latents, conditional on a class."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from creditline.data.image_set import ImageSet
from creditline.diffusion.denoiser import check_labels
from creditline.diffusion.families.latent import LatentDenoiser, mean_half


class DiT(LatentDenoiser):
    """Peebles & Xie, ICCV 2023. Where the network predicts its variance too, that half is left
    out: L_simple is of the noise."""

    pipelines = ("DiTPipeline",)
    networks = ("DiTTransformer2DModel", "Transformer2DModel")
    part = "transformer"
    usual_guidance = 4.0

    def __init__(self, module: Any, *rest: Any) -> None:
        self.patch = module.config.patch_size
        super().__init__(module, *rest)
        self.n_classes = int(module.config.num_embeds_ada_norm)

    def check(self, images: ImageSet) -> None:
        super().check(images)
        check_labels(images.labels, self._classes)

    def unconditional(self, n: int, negative: str | None = None) -> dict[str, Tensor] | None:
        null = torch.full((n,), self._classes)  # the row after the last class
        return {"class_labels": null}

    @property
    def _classes(self) -> int:
        return int(self.n_classes or 0)

    def _wanted(self, images: ImageSet, i: int) -> int | None:
        return images.labels[i]

    def _embed(self, wanted: Any) -> dict[str, Tensor]:
        check_labels([wanted], self._classes)
        return {"class_labels": torch.tensor(wanted)}

    def _call(self, x_t: Tensor, time: Tensor, condition: dict[str, Tensor]) -> Tensor:
        output = self.module(x_t, timestep=time, **condition).sample
        return mean_half(output, x_t.shape[1])
