"""Does a tuning fit its base and its images? Asked before anything is written or computed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from creditline.data.image_set import ImageSet
from creditline.diffusion.denoiser import Denoiser, UNetDenoiser
from creditline.diffusion.precision import require_precision
from creditline.diffusion.tuning.adapter import adapter_targets
from creditline.diffusion.tuning.config import TuneConfig
from creditline.errors import ModelError, SettingsError


def check_tuning(
    base: Denoiser, images: ImageSet, config: TuneConfig, device: torch.device
) -> None:
    """Refuse a tuning that cannot be done.

    Args:
        base: the model.
        images: to tune it on.
        config: settings.
        device: where.

    Raises:
        ModelError: if the images or an adapter do not fit the base, or it lacks what a setting is
            about.
        DataError: if images lack captions, or one is too long.
        SettingsError: if the base has no side without captions or classes for `caption_dropout`,
            or the device does not calculate in the precision asked for.
    """
    base.check(images)
    require_precision(config.precision, device)
    module: Any = base.module
    kind = type(module).__name__
    if config.adapter.lora_rank is not None:
        adapter_targets(module, config.adapter)
    elif isinstance(base, UNetDenoiser):
        raise ModelError(
            f"All weights of a {kind} on pixels are trained by settings of its own network "
            "(TrainConfig). Use those, or train an adapter (lora_rank, --lora-rank)."
        )
    if config.gradient_checkpointing and not getattr(
        module, "_supports_gradient_checkpointing", False
    ):
        raise ModelError(
            f"A {kind} has no gradient checkpointing. Leave it out; accumulate saves memory too."
        )
    if config.attention_dropout and not attention_dropouts(module):
        raise ModelError(f"No attention of this {kind} has a dropout. Leave attention_dropout out.")
    if config.caption_dropout:
        null_condition(base)


def attention_dropouts(module: torch.nn.Module) -> list[Any]:
    """The dropout behind every attention's projection."""
    return [
        part
        for name, part in module.named_modules()
        if isinstance(part, torch.nn.Dropout) and name.rpartition(".")[0].endswith("to_out")
    ]


def null_condition(denoiser: Denoiser) -> dict[str, Tensor]:
    """The condition of an image without caption or class, one row.

    Raises:
        SettingsError: if the model has none.
    """
    found = denoiser.conditions([""]) if denoiser.takes_prompts else denoiser.unconditional(1)
    if not found:
        raise SettingsError(
            "caption_dropout leaves out captions or classes, and this model has no side without "
            "them. Leave it out."
        )
    return found
