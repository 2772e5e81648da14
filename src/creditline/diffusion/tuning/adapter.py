"""Adding a new LoRA adapter to a network."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch

from creditline.diffusion.adapters import adapter_layers, adapter_parameters
from creditline.diffusion.tuning.config import AdapterConfig
from creditline.errors import ModelError

NAME = "tuned"
"""Name of the adapter that is trained."""

ATTENTION = (
    *("to_q", "to_k", "to_v", "to_out.0"),
    # text projections in joint attention
    *("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"),
)


def add_adapter(module: Any, config: AdapterConfig) -> Any:
    """Add an adapter to a network and freeze the network's own weights.

    The adapter's weights are drawn from torch's current random state.

    Args:
        module: a diffusers network; changed.
        config: rank, scale and layers of the adapter.

    Returns:
        PEFT's config of the adapter.

    Raises:
        ModelError: if PEFT is missing, the network has adapters already, or has no layers with
            these names.
    """
    targets = adapter_targets(module, config)
    from peft import LoraConfig, inject_adapter_in_model

    rank = config.lora_rank or 0
    settings = LoraConfig(
        r=rank,
        lora_alpha=rank if config.lora_alpha is None else config.lora_alpha,
        target_modules=targets,
        init_lora_weights="gaussian",
    )
    module.requires_grad_(False)
    inject_adapter_in_model(settings, module, adapter_name=NAME)
    if hasattr(module, "_hf_peft_config_loaded"):  # diffusers' flag for a network with adapters
        module._hf_peft_config_loaded = True
    return settings


def adapter_targets(module: torch.nn.Module, config: AdapterConfig) -> list[str]:
    """Return the suffixes of the names of an adapter's layers.

    Raises:
        ModelError: if PEFT is missing, the network has adapters already, or has no layers with
            these names.
    """
    if importlib.util.find_spec("peft") is None:
        raise ModelError("Adapters need the library peft: pip install 'creditline[lora]'.")
    if any(True for _ in adapter_layers(module)):
        raise ModelError(
            "The base has adapters already. Merge them into its weights first (fuse_lora of "
            "its pipeline) and save it."
        )
    kinds = (torch.nn.Linear, torch.nn.Conv2d)
    layers = [name for name, layer in module.named_modules() if isinstance(layer, kinds)]
    network = type(module).__name__
    for target in config.lora_targets:
        if not any(_has_suffix(name, target) for name in layers):
            raise ModelError(
                f"No linear or convolutional layer of the {network} is called {target!r}. Its "
                f"layers end in: {_list_suffixes(layers)}."
            )
    default = [end for end in ATTENTION if any(_has_suffix(name, end) for name in layers)]
    if not config.lora_targets and not default:
        raise ModelError(
            f"This {network} has no attention projections for an adapter. Name other layers "
            f"(lora_targets, --lora-targets); they end in: {_list_suffixes(layers)}."
        )
    return list(config.lora_targets) or default


def adapter_size(module: torch.nn.Module) -> int:
    """Count the parameters of a network's active adapters; works on the meta device."""
    names = adapter_parameters(module)
    return sum(p.numel() for name, p in module.named_parameters() if name in names)


def _has_suffix(name: str, suffix: str) -> bool:
    return name == suffix or name.endswith(f".{suffix}")


def _list_suffixes(layers: list[str]) -> str:
    """List the last component of each name, and the one before if the last is a number."""
    ends: dict[str, None] = {}
    for name in layers:
        words = name.split(".")
        ends[".".join(words[-2:]) if words[-1].isdigit() else words[-1]] = None
    return ", ".join(ends)
