"""Refusal of torch's inference mode, in which no gradient can be computed."""

from __future__ import annotations

import torch
from torch import nn

from creditline.errors import SettingsError


def require_gradients(*modules: nn.Module) -> None:
    """Refuse inference mode, and modules whose weights were made in it.

    Raises:
        SettingsError: with what to do.
    """
    if torch.is_inference_mode_enabled():
        raise SettingsError(
            "Gradients cannot be computed inside torch.inference_mode(). Call Creditline outside "
            "of it."
        )
    if any(p.is_inference() for module in modules for p in module.parameters()):
        raise SettingsError(
            "The model was made inside torch.inference_mode(), so its weights have no gradients. "
            "Load it again outside of it."
        )
