"""What a tuning trains: a copy of its base, whole or with an adapter on it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from creditline.data.image_set import ImageSet
from creditline.diffusion.encoding_cache import EncodingCache
from creditline.diffusion.families import LatentDenoiser
from creditline.diffusion.initialization import seed_for
from creditline.diffusion.tuning.adapter import add_adapter
from creditline.diffusion.tuning.check import attention_dropouts, null_condition
from creditline.diffusion.tuning.config import TuneConfig
from creditline.diffusion.tuning.files import describe_base, save_adapter, save_whole
from creditline.runtime import Runtime

MEMORY = 2**30
"""Bytes of latents and embeddings that are held at most; the others are read again from disk."""


class TuningTask:
    """A copy of a base in training; autoencoder and text encoders are shared and stay frozen.

    Torch's random state is changed, as the adapter's first weights are drawn from it.

    Args:
        base: the model, as `load_model` gives it; `check_tuning` found nothing wrong.
        images: what it is trained on.
        config: settings.
        device: where to train.
    """

    def __init__(
        self, base: Any, images: ImageSet, config: TuneConfig, device: torch.device
    ) -> None:
        self.base = describe_base(base)
        self.denoiser: Any = copy.deepcopy(base).to(device)
        self.images, self.config = images, config
        self.parts, self.precision = config.accumulate, config.precision
        torch.manual_seed(seed_for(config, "weights"))
        module = self.denoiser.module
        self.adapter = None
        if config.adapter.lora_rank is None:
            module.requires_grad_(True)
        else:
            self.adapter = add_adapter(module, config.adapter)
        if config.gradient_checkpointing:
            module.enable_gradient_checkpointing()
        self.dropouts = attention_dropouts(module) if config.attention_dropout else []
        for layer in self.dropouts:
            layer.p = config.attention_dropout
        self.null = null_condition(self.denoiser) if config.caption_dropout else {}

    def encode(self, folder: Path, runtime: Runtime) -> None:
        """Encode every picture and caption, unless the base has its encodings already.

        Args:
            folder: where they are kept.
            runtime: shows progress.

        Raises:
            IndexMismatchError: if it holds those of another autoencoder or text encoder.
        """
        if getattr(self.denoiser, "encoded", None) is None:
            encode_all(self.denoiser, [self.images], folder, self.config, runtime)

    def set_mode(self) -> None:
        # No dropout but the one that was asked for: DiT's own, say, leaves out classes.
        self.denoiser.module.eval()
        for layer in self.dropouts:
            layer.train()

    def batch(
        self, rows: np.ndarray, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        found = self.denoiser.encode(self.images, rows)
        x0, condition = found.x0, found.condition
        if self.config.flip:
            mirrored = torch.rand(len(rows), generator=generator) < 0.5
            if mirrored.any():
                others = _mirrored(self.images, rows[mirrored.numpy()])
                x0[mirrored] = self.denoiser.encode(others, range(len(others))).x0
        if self.null:
            dropped = torch.rand(len(rows), generator=generator) < self.config.caption_dropout
            condition = {
                name: torch.where(dropped.view(-1, *[1] * (value.ndim - 1)), self.null[name], value)
                for name, value in condition.items()
            }
        return x0, condition

    def shown(self, n: int) -> dict[str, Any]:
        classes = self.denoiser.n_classes
        if classes is not None:
            return {"labels": [i % classes for i in range(n)]}
        if not self.denoiser.takes_prompts:
            return {}
        wanted = [self.denoiser._wanted(self.images, i) for i in range(len(self.images))]
        different = list(dict.fromkeys(wanted))
        return {"prompts": [different[i % len(different)] for i in range(n)]}

    def save(self, folder: Path, record: Mapping[str, Any], aside: Path) -> None:
        encoding = self.denoiser.options.get("encoding", {})
        about = {**record, **({"encoding": encoding} if encoding else {})}
        if self.adapter is None:
            save_whole(self.denoiser, folder, about, aside)
        else:
            about["base"] = self.base
            save_adapter(self.denoiser, self.adapter, folder, about, aside)


def encode_all(
    denoiser: Any,
    groups: Sequence[ImageSet],
    folder: Path,
    config: TuneConfig,
    runtime: Runtime,
) -> None:
    """Encode pictures and captions once, and let a model take them from a folder.

    Args:
        denoiser: the model; one that encodes nothing is left as it is.
        groups: pictures.
        folder: where encodings are kept.
        config: whether pictures are mirrored, or shown without their captions.
        runtime: shows progress.

    Raises:
        IndexMismatchError: if the folder holds encodings of another autoencoder or text encoder.
    """
    if not isinstance(denoiser, LatentDenoiser) or not denoiser.encoders():
        return
    denoiser.encoded = EncodingCache(folder, denoiser.encoders(), MEMORY)
    if config.caption_dropout:
        null_condition(denoiser)
    with runtime.progress("encode", sum(map(len, groups)), "picture") as bar:
        for images in groups:
            for i in range(len(images)):
                denoiser.encode(images, [i])
                if config.flip:
                    denoiser.encode(_mirrored(images, np.array([i])), [0])
                bar.advance(1)


def _mirrored(images: ImageSet, rows: np.ndarray) -> ImageSet:
    """Some images, mirrored, with their captions and classes."""
    return ImageSet.from_images(
        np.ascontiguousarray(images.array(rows)[:, :, ::-1]),
        texts=[images.texts[i] for i in rows],
        labels=[images.labels[i] for i in rows],
    )
