"""Adapters: LoRA weights that PEFT put on a network, loaded from files or found on it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from creditline.errors import ModelError

PEFT_CONFIG, PEFT_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PEFT_PREFIX = "base_model.model."
FAILURES = (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError)
"""What diffusers and PEFT raise of an adapter that they cannot place."""


def check_adapters(adapters: Mapping[str, str]) -> None:
    """Refuse adapters that cannot be loaded onto anything, before anything is.

    Args:
        adapters: a file or folder by the adapter's name.

    Raises:
        ModelError: if there is no such file, it cannot be called so, or PEFT is missing.
    """
    if adapters and importlib.util.find_spec("peft") is None:
        raise ModelError("Adapters need the library peft: pip install 'creditline[lora]'.")
    for name, path in adapters.items():
        if not Path(path).exists():
            raise ModelError(f"There is no adapter at {path}. Give a file or a folder of one.")
        if not name.isidentifier():
            raise ModelError(f"{name!r} cannot name an adapter. Use letters, digits and _.")


def load_adapters(
    network: Any, pipeline: Any, adapters: Mapping[str, str], allow_pickle: bool = False
) -> None:
    """Load adapters onto a network and let all of them act together.

    Args:
        network: the denoiser's network.
        pipeline: the diffusers pipeline that holds it, or None.
        adapters: a file or folder by the adapter's name: a PEFT folder, or whatever the
            pipeline's `load_lora_weights` takes, kohya's naming included.
        allow_pickle: accept weights that are not safetensors.

    Raises:
        ModelError: as `check_adapters`, or if an adapter does not fit the network.
    """
    check_adapters(adapters)
    for name, source in adapters.items():
        path = Path(source)
        if (path / PEFT_CONFIG).is_file():
            _load_peft(network, path, name)
        elif hasattr(pipeline, "load_lora_weights"):
            _load_file(network, pipeline, path, name, allow_pickle)
        else:
            raise ModelError(
                f"{path} is no PEFT folder ({PEFT_CONFIG} is missing), and diffusers loads LoRA "
                f"files of no {type(network).__name__}. Save the adapter with PEFT's "
                "save_pretrained."
            )
    for _, layer in adapter_layers(network):
        layer.set_adapter(list(adapters))


def adapter_layers(module: Any) -> Iterator[tuple[str, Any]]:
    """Layers that PEFT has wrapped, with their qualified names."""
    for name, part in module.named_modules():
        if hasattr(part, "adapter_layer_names") and hasattr(part, "active_adapters"):
            yield name, part


def adapter_parameters(module: Any, names: Sequence[str] | None = None) -> set[str]:
    """Qualified names of the parameters of adapters.

    Args:
        module: a network.
        names: of the adapters; None: those that act.

    Raises:
        ModelError: if an adapter that acts is merged into the weights, where it has no gradient.
    """
    found = set()
    for prefix, layer in adapter_layers(module):
        if names is None and getattr(layer, "disable_adapters", False):
            continue
        acting = list(layer.active_adapters) if names is None else list(names)
        merged = set(getattr(layer, "merged_adapters", ())) & set(acting)
        if merged:
            raise ModelError(
                f"Adapter {sorted(merged)[0]!r} is merged into the weights of {prefix}. Undo it "
                "first (unmerge_adapter, unfuse_lora)."
            )
        for own in layer.adapter_layer_names:
            holder = getattr(layer, own, None)
            for adapter in acting:
                if holder is None or adapter not in holder:
                    continue
                start = f"{prefix}.{own}.{adapter}"
                inner = getattr(holder[adapter], "named_parameters", None)
                found |= {start} if inner is None else {f"{start}.{n}" for n, _ in inner()}
    return found


def described(module: Any) -> list[Any]:
    """Which adapters act where and how strongly: what their weights alone do not tell."""
    return [
        [prefix, sorted([a, float(getattr(layer, "scaling", {}).get(a, 1.0))] for a in acting)]
        for prefix, layer in adapter_layers(module)
        if (acting := list(layer.active_adapters)) and not getattr(layer, "disable_adapters", False)
    ]


def _load_peft(network: Any, folder: Path, name: str) -> None:
    """An adapter as PEFT saves it."""
    from peft import PeftConfig, inject_adapter_in_model, set_peft_model_state_dict
    from safetensors.torch import load_file

    if not (folder / PEFT_WEIGHTS).is_file():
        raise ModelError(f"{folder} has no {PEFT_WEIGHTS}. Convert the adapter to safetensors.")
    try:
        config = PeftConfig.from_pretrained(str(folder))
        weights = load_file(folder / PEFT_WEIGHTS)
        state = {key.removeprefix(PEFT_PREFIX): value for key, value in weights.items()}
        inject_adapter_in_model(config, network, adapter_name=name)
        left = set_peft_model_state_dict(network, state, adapter_name=name)
    except FAILURES as error:
        raise _misfit(folder, network, str(error)) from error
    if hasattr(network, "_hf_peft_config_loaded"):  # diffusers' own mark of a network with adapters
        network._hf_peft_config_loaded = True
    _require_all(folder, network, name, len(state) - len(left.unexpected_keys), len(state))


def _load_file(network: Any, pipeline: Any, path: Path, name: str, allow_pickle: bool) -> None:
    """An adapter in any naming that diffusers knows."""
    place = (str(path.parent), {"weight_name": path.name}) if path.is_file() else (str(path), {})
    settings = {**place[1], "use_safetensors": None if allow_pickle else True}
    prefix = getattr(pipeline, "unet_name", None) or pipeline.transformer_name
    try:
        state = pipeline.lora_state_dict(place[0], **settings)
        weights = state[0] if isinstance(state, tuple) else state
        pipeline.load_lora_weights(place[0], adapter_name=name, **settings)
    except FAILURES as error:
        raise _misfit(path, network, str(error)) from error
    mine = [k for k in weights if k.startswith(f"{prefix}.") and not k.endswith("alpha")]
    others = [k for k in weights if k.startswith("text_encoder")]
    placed = len(adapter_parameters(network, [name]))
    _require_all(path, network, name, placed, len(mine) if mine or others else len(weights))


def _require_all(path: Path, network: Any, name: str, placed: int, expected: int) -> None:
    """Every tensor has its place, and every place its tensor."""
    places = len(adapter_parameters(network, [name]))
    if placed != expected or places != expected:
        # PEFT would leave out what it cannot place, and leave at random what it was not given.
        raise _misfit(
            path,
            network,
            f"it has {expected} tensors, {places} fit the network and {placed} were loaded",
        )


def _misfit(path: Path, network: Any, why: str) -> ModelError:
    reason = " ".join(why.split()).rstrip(".")
    shown = reason if len(reason) < 300 else reason[:297] + ".."
    return ModelError(
        f"The adapter {path} does not fit the {type(network).__name__}: {shown}. Use an adapter "
        "trained on this base, or the base that it was trained on."
    )
