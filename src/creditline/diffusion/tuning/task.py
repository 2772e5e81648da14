"""The training task of a tuning: all weights of a base, or an adapter on it."""

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
from creditline.diffusion.seeds import seed_for
from creditline.diffusion.tuning.adapter import add_adapter
from creditline.diffusion.tuning.check import attention_dropouts, encode_null_condition
from creditline.diffusion.tuning.config import TuneConfig
from creditline.diffusion.tuning.files import describe_base, save_adapter, save_pipeline
from creditline.runtime import Runtime

MEMORY = 2**30
"""Maximum bytes of latents and embeddings in memory; the others are read from disk again."""


class TuningTask:
    """Tunes a copy of a base; autoencoder and text encoders are shared and stay frozen.

    The constructor changes torch's random state, from which it draws the adapter's weights.

    Args:
        base: a denoiser that passed `check_tuning`.
        images: training images.
        config: settings.
        device: where to train.
    """

    def __init__(
        self, base: Any, images: ImageSet, config: TuneConfig, device: torch.device
    ) -> None:
        self.base = describe_base(base)
        self.denoiser: Any = copy.deepcopy(base).to(device)
        self.images, self.config = images, config
        self.backward_passes, self.precision = config.accumulate, config.precision
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
        self.has_captions = any(images.captions or ())
        self.null = encode_null_condition(self.denoiser) if config.caption_dropout else {}

    def encode(self, folder: Path, runtime: Runtime) -> None:
        """Encode every image and caption, unless the base has an encoding cache already.

        Args:
            folder: folder of the cache.
            runtime: shows progress.

        Raises:
            IndexMismatchError: if it holds encodings of another autoencoder or text encoder.
        """
        if self.denoiser.encoding_cache is None:
            encode_all(self.denoiser, [self.images], folder, self.config, runtime)

    def set_mode(self) -> None:
        # Only the requested dropout acts: DiT, for instance, drops class labels in training mode.
        self.denoiser.module.eval()
        for layer in self.dropouts:
            layer.train()

    def batch(
        self, rows: np.ndarray, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        encoded = self.denoiser.encode(self.images, rows)
        x0, condition = encoded.x0, encoded.condition
        if self.config.flip:
            mirrored = torch.rand(len(rows), generator=generator) < 0.5
            if mirrored.any():
                flipped = _flip_images(self.images, rows[mirrored.numpy()])
                x0[mirrored] = self.denoiser.encode(flipped, range(len(flipped))).x0
        if self.has_captions:  # no other training draws, so its random numbers stay the same
            condition = self._draw_captions(rows, generator)
        if self.null:
            dropped = torch.rand(len(rows), generator=generator) < self.config.caption_dropout
            condition = {
                name: torch.where(dropped.view(-1, *[1] * (value.ndim - 1)), self.null[name], value)
                for name, value in condition.items()
            }
        return x0, condition

    def _draw_captions(self, rows: np.ndarray, generator: torch.Generator) -> dict[str, Tensor]:
        """Encode one of the captions of each image, drawn uniformly."""
        inputs = [self.denoiser.condition_inputs(self.images, int(i)) for i in rows]
        shares = torch.rand(len(rows), generator=generator).tolist()
        return self.denoiser.encode_conditions(
            [each[int(share * len(each))] for each, share in zip(inputs, shares, strict=True)]
        )

    def sample_conditions(self, n: int) -> dict[str, Any]:
        classes = self.denoiser.n_classes
        if classes is not None:
            return {"labels": [i % classes for i in range(n)]}
        if not self.denoiser.takes_prompts:
            return {}
        captions = [self.denoiser.condition_input(self.images, i) for i in range(len(self.images))]
        unique = list(dict.fromkeys(captions))
        return {"prompts": [unique[i % len(unique)] for i in range(n)]}

    def save(self, folder: Path, record: Mapping[str, Any], aside: Path) -> None:
        encoding = self.denoiser.options.get("encoding", {})
        facts = {**record, **({"encoding": encoding} if encoding else {})}
        if self.adapter is None:
            save_pipeline(self.denoiser, folder, facts, aside)
        else:
            facts["base"] = self.base
            save_adapter(self.denoiser, self.adapter, folder, facts, aside)


def encode_all(
    denoiser: Any,
    groups: Sequence[ImageSet],
    folder: Path,
    config: TuneConfig,
    runtime: Runtime,
) -> None:
    """Encode images and captions into a cache that the denoiser reads afterwards.

    Args:
        denoiser: the model; one without encoders is not changed.
        groups: sets of images.
        folder: folder of the cache.
        config: whether images are mirrored, and captions left out.
        runtime: shows progress.

    Raises:
        IndexMismatchError: if the folder holds encodings of another autoencoder or text encoder.
    """
    if not denoiser.encoders():
        return
    denoiser.encoding_cache = EncodingCache(folder, denoiser.encoders(), MEMORY)
    if config.caption_dropout:
        encode_null_condition(denoiser)
    with runtime.progress("encode", sum(map(len, groups)), "image") as bar:
        for images in groups:
            for i in range(len(images)):
                denoiser.encode(images, [i])
                if images.captions is not None:
                    denoiser.encode_conditions(denoiser.condition_inputs(images, i))
                if config.flip:
                    denoiser.encode(_flip_images(images, np.array([i])), [0])
                bar.advance(1)


def _flip_images(images: ImageSet, rows: np.ndarray) -> ImageSet:
    """Mirror some images and keep their captions and classes."""
    return ImageSet.from_images(
        np.ascontiguousarray(images.array(rows)[:, :, ::-1]),
        texts=[images.texts[i] for i in rows],
        labels=[images.labels[i] for i in rows],
    )
