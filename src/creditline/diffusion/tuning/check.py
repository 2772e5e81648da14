"""Checks that a tuning fits its base and images, before anything is written or computed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from creditline.data.image_set import ImageSet
from creditline.diffusion.denoiser import Denoiser
from creditline.diffusion.precision import require_precision
from creditline.diffusion.tuning.adapter import adapter_targets
from creditline.diffusion.tuning.config import TuneConfig
from creditline.errors import ModelError, SettingsError


def check_tuning(
    base: Denoiser, images: ImageSet, config: TuneConfig, device: torch.device
) -> None:
    """Refuse a tuning that does not fit its base, images or device.

    Args:
        base: the model.
        images: training images.
        config: settings.
        device: where to train.

    Raises:
        ModelError: if the images or an adapter do not fit the base, or it does not support a
            setting.
        DataError: if images lack captions, or one is too long.
        SettingsError: if the base has no unconditional input for `caption_dropout`, or the device
            does not support the precision.
    """
    base.check(images)
    require_precision(config.precision, device)
    module: Any = base.module
    kind = type(module).__name__
    if config.adapter.lora_rank is not None:
        adapter_targets(module, config.adapter)
    elif base.trains_from_scratch:
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
        encode_null_condition(base)


def attention_dropouts(module: torch.nn.Module) -> list[Any]:
    """Return the dropout layers after the output projections of attention."""
    return [
        layer
        for name, layer in module.named_modules()
        if isinstance(layer, torch.nn.Dropout) and name.rpartition(".")[0].endswith("to_out")
    ]


def encode_null_condition(denoiser: Denoiser) -> dict[str, Tensor]:
    """Encode the condition of an image without caption or class, one row.

    Raises:
        SettingsError: if the model has none.
    """
    condition = (
        denoiser.encode_conditions([""])
        if denoiser.takes_prompts
        else denoiser.encode_unconditional(1)
    )
    if not condition:
        raise SettingsError(
            "caption_dropout leaves out captions or classes, and this model has no input without "
            "them. Leave it out."
        )
    return condition
