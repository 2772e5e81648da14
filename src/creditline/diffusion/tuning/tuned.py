"""What a tuning trains: a copy of its base, whole or with an adapter on it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from creditline.data.image_set import ImageSet
from creditline.diffusion.denoiser import Denoiser, UNetDenoiser
from creditline.diffusion.encoded import Encoded
from creditline.diffusion.families import LatentDenoiser
from creditline.diffusion.start import seed_for
from creditline.diffusion.tuning.adapter import add_adapter
from creditline.diffusion.tuning.config import TuneConfig
from creditline.diffusion.tuning.files import describe_base, save_adapter, save_whole
from creditline.errors import ModelError, SettingsError
from creditline.gradients.precision import require_precision
from creditline.progress import Progress

MEMORY = 2**30
"""Bytes of latents and embeddings that are held at most; the others are read again from disk."""


class TunedTrainee:
    """A copy of a base in training; autoencoder and text encoders are shared and stay frozen.

    Torch's random state is changed, as the adapter's first weights are drawn from it.

    Args:
        base: the model, as `load_model` gives it.
        images: what it is trained on.
        config: settings.
        device: where to train.

    Raises:
        ModelError: if the base cannot be trained like this, or does not fit the images.
        DataError: if images lack captions, or one is too long.
        SettingsError: if it has no side without captions or classes for `caption_dropout`, or
            the device does not calculate in the precision asked for.
    """

    def __init__(
        self, base: Denoiser, images: ImageSet, config: TuneConfig, device: torch.device
    ) -> None:
        base.check(images)
        require_precision(config.precision, device)
        self.base = describe_base(base)
        self.denoiser: Any = copy.deepcopy(base).to(device)
        self.images, self.config = images, config
        self.parts, self.precision = config.accumulate, config.precision
        module = self.denoiser.module
        torch.manual_seed(seed_for(config, "weights"))
        self.adapter = None
        if config.adapter.lora_rank is not None:
            self.adapter = add_adapter(module, config.adapter)
        elif isinstance(base, UNetDenoiser):
            raise ModelError(
                "All weights of a UNet2DModel on pixels are trained by settings of its own network "
                "(TrainConfig). Use those, or train an adapter (lora_rank, --lora-rank)."
            )
        else:
            module.requires_grad_(True)
        if config.gradient_checkpointing:
            _checkpoint(module)
        self.dropouts = _attention_dropouts(module, config.attention_dropout)
        self.null = _null(self.denoiser) if config.caption_dropout else {}

    def encode(self, folder: Path) -> None:
        """Encode every picture and caption once, and keep them in a folder.

        Raises:
            IndexMismatchError: if it holds those of another autoencoder or text encoder.
        """
        denoiser = self.denoiser
        if not isinstance(denoiser, LatentDenoiser) or not denoiser.encoders():
            return
        denoiser.encoded = Encoded(folder, denoiser.encoders(), MEMORY)
        with Progress("encode", len(self.images), "picture") as bar:
            for i in range(len(self.images)):
                denoiser.encode(self.images, [i])
                if self.config.flip:
                    denoiser.encode(_mirrored(self.images, np.array([i])), [0])
                bar.advance(1)

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


def _mirrored(images: ImageSet, rows: np.ndarray) -> ImageSet:
    """Some images, mirrored, with their captions and classes."""
    return ImageSet.from_images(
        np.ascontiguousarray(images.array(rows)[:, :, ::-1]),
        texts=[images.texts[i] for i in rows],
        labels=[images.labels[i] for i in rows],
    )


def _null(denoiser: Any) -> dict[str, Tensor]:
    """The condition of an image without caption or class, one row."""
    found = denoiser.conditions([""]) if denoiser.takes_prompts else denoiser.unconditional(1)
    if not found:
        raise SettingsError(
            "caption_dropout leaves out captions or classes, and this model has no side without "
            "them. Leave it out."
        )
    return found


def _checkpoint(module: Any) -> None:
    if not getattr(module, "_supports_gradient_checkpointing", False):
        raise ModelError(
            f"A {type(module).__name__} has no gradient checkpointing. Leave it out; accumulate "
            "saves memory too."
        )
    module.enable_gradient_checkpointing()


def _attention_dropouts(module: torch.nn.Module, share: float) -> list[torch.nn.Module]:
    """The dropout behind every attention's projection, set to a share.

    Raises:
        ModelError: if there is none to set.
    """
    if not share:
        return []
    found = []
    for name, part in module.named_modules():
        if isinstance(part, torch.nn.Dropout) and name.rpartition(".")[0].endswith("to_out"):
            part.p = share
            found.append(part)
    if not found:
        raise ModelError(
            f"No attention of this {type(module).__name__} has a dropout. Leave attention_dropout "
            "out."
        )
    return found
