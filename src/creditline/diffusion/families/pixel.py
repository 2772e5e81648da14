"""U-Nets on pixels, unconditional or class-conditional."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from creditline.data.image_set import ImageSet
from creditline.diffusion.denoiser import Batch, check_labels
from creditline.diffusion.encoding_config import EncodingConfig
from creditline.diffusion.families.network import ConditionSpec, NetworkDenoiser, native_size
from creditline.diffusion.process import Process
from creditline.errors import ModelError


class UNetDenoiser(NetworkDenoiser):
    """A `UNet2DModel` of diffusers on pixels (Ho et al., NeurIPS 2020).

    Args:
        module, process, pipeline, encoding, source: see `NetworkDenoiser`.

    Raises:
        ModelError: if input and output channels differ, the image size is unknown, the network is
            conditional on something other than a class label, or an encoding is given.
    """

    pipelines = ("DDPMPipeline", "DDIMPipeline")
    networks = ("UNet2DModel",)
    uses_pipeline = False
    trains_from_scratch = True

    def __init__(
        self,
        module: Any,
        process: Process,
        pipeline: Any = None,
        encoding: EncodingConfig | None = None,
        source: str | None = None,
    ) -> None:
        config = module.config
        if config.in_channels != config.out_channels:
            raise ModelError(
                f"A denoiser returns as many channels as it takes; this one takes "
                f"{config.in_channels} and returns {config.out_channels}."
            )
        if config.get("class_embed_type") is not None:
            raise ModelError(
                f"Class embeddings of type {config.class_embed_type!r} are not supported, only "
                "those of a class index (num_class_embeds)."
            )
        height, width = native_size(config, "Set it in config.json to the side in pixels.")
        super().__init__(module, process, pipeline, encoding, source)
        if self.encoding != EncodingConfig():
            raise ModelError(
                "This model works on pixels and encodes nothing. Leave out "
                + ", ".join(self.encoding.changes())
                + "."
            )
        self.sample_shape = self.image_shape = (config.in_channels, height, width)
        embeddings = config.get("num_class_embeds")
        self.n_classes = int(embeddings) if embeddings is not None else None

    @classmethod
    def for_estimates(
        cls, module: Any, process: Process, folder: Path, side: int | None = None
    ) -> Self:
        if side is not None:
            module.register_to_config(sample_size=side)
        return cls(module, process)

    @classmethod
    def condition_specs(
        cls, config: Any, prompt_tokens: int | None = None
    ) -> Mapping[str, ConditionSpec]:
        labels = {"class_labels": ConditionSpec((), torch.int64)}
        return {} if config.get("num_class_embeds") is None else labels

    def encode(self, images: ImageSet, indices: Sequence[int]) -> Batch:
        labels = [images.labels[i] for i in indices] if self.n_classes is not None else None
        return self.batch(images.pixels(indices), [images.ids[i] for i in indices], labels)

    def batch(
        self, x0: Tensor, ids: Sequence[str], labels: Sequence[int | None] | None = None
    ) -> Batch:
        """Make a batch of tensors that are not in an image set.

        Args:
            x0: pixels in [-1, 1], shape `(b, C, H, W)`.
            ids: hashes that key the noise of each image.
            labels: class of each image, for class-conditional networks.

        Raises:
            ModelError: if a class is missing or unknown.
        """
        if self.n_classes is None:
            return Batch(x0, {}, tuple(ids))
        check_labels(labels or [None], self.n_classes)
        return Batch(x0, {"class_labels": torch.tensor(labels)}, tuple(ids))

    def predict(self, x_t: Tensor, t: Tensor, condition: dict[str, Tensor]) -> Tensor:
        return self.module(x_t, t, **condition).sample

    def check(self, images: ImageSet) -> None:
        super().check(images)
        if self.n_classes is not None:
            check_labels(images.labels, self.n_classes)

    def condition_input(self, images: ImageSet, i: int) -> int | None:
        return None if self.n_classes is None else images.labels[i]

    def encode_conditions(
        self, inputs: Sequence[Any], guidance: float | None = None
    ) -> dict[str, Tensor]:
        return {} if self.n_classes is None else {"class_labels": torch.tensor(list(inputs))}
