"""Adapters: LoRA weights on a network, loaded from files or found on it."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from creditline.diffusion.adapter_files import (
    PEFT_CONFIG,
    PEFT_PREFIX,
    PEFT_WEIGHTS,
    read_lora_file,
    read_tensors,
)
from creditline.diffusion.json_file import read_json
from creditline.diffusion.reason import shorten_reason
from creditline.errors import ModelError


def check_adapters(adapters: Mapping[str, str]) -> None:
    """Refuse adapters that cannot be loaded on any network, before one is loaded.

    Args:
        adapters: a file or folder by the adapter's name.

    Raises:
        ModelError: if a file does not exist, a name is invalid, or PEFT is missing.
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
    """Load adapters onto a network and activate all of them.

    Args:
        network: the denoiser's network.
        pipeline: the diffusers pipeline that holds it, or None.
        adapters: a file or folder by the adapter's name: a PEFT folder, or what the pipeline's
            `load_lora_weights` takes, including kohya's naming.
        allow_pickle: accept weights that are not safetensors.

    Raises:
        ModelError: see `check_adapters`; or if an adapter does not fit the network.
    """
    check_adapters(adapters)
    for name, source in adapters.items():
        path = Path(source)
        if (path / PEFT_CONFIG).is_file():
            _load_peft(network, path, name)
        elif (path.parent / PEFT_CONFIG).is_file() and path.name == PEFT_WEIGHTS:
            _load_peft(network, path.parent, name)
        elif hasattr(pipeline, "load_lora_weights"):
            _load_file(network, pipeline, path, name, allow_pickle)
        else:
            raise ModelError(
                f"{path} is not a PEFT folder ({PEFT_CONFIG} is missing), and diffusers loads no "
                f"LoRA files for a {type(network).__name__}. Save the adapter with PEFT's "
                "save_pretrained."
            )
    for _, layer in adapter_layers(network):
        layer.set_adapter(list(adapters))


def adapter_layers(module: Any) -> Iterator[tuple[str, Any]]:
    """Iterate over the layers that PEFT has wrapped, with their qualified names."""
    for name, part in module.named_modules():
        if hasattr(part, "adapter_layer_names") and hasattr(part, "active_adapters"):
            yield name, part


def reused_modules(module: Any) -> set[Any]:
    """Return the modules that DoRA calls once more, for the norms of the adapted weights.

    A hook on them sees inputs that are not those of the images.
    """
    return {
        factors[name]
        for _, layer in adapter_layers(module)
        for name in getattr(layer, "lora_magnitude_vector", None) or ()
        for factors in (layer.lora_A, layer.lora_B)
        if name in factors
    }


def adapter_parameters(module: Any, names: Sequence[str] | None = None) -> set[str]:
    """Return the qualified names of the parameters of adapters.

    Args:
        module: a network.
        names: names of the adapters; None: the active ones.

    Raises:
        ModelError: if an active adapter is merged into the weights and so has no gradient.
    """
    parameters: set[str] = set()
    for prefix, layer in adapter_layers(module):
        if names is None and getattr(layer, "disable_adapters", False):
            continue
        active = list(layer.active_adapters) if names is None else list(names)
        merged = set(getattr(layer, "merged_adapters", ())) & set(active)
        if merged:
            raise ModelError(
                f"Adapter {sorted(merged)[0]!r} is merged into the weights of {prefix}. Undo it "
                "first (unmerge_adapter, unfuse_lora)."
            )
        for own in layer.adapter_layer_names:
            holder = getattr(layer, own, None)
            for adapter in active:
                if holder is None or adapter not in holder:
                    continue
                start = f"{prefix}.{own}.{adapter}"
                inner = getattr(holder[adapter], "named_parameters", None)
                parameters |= {start} if inner is None else {f"{start}.{n}" for n, _ in inner()}
    return parameters


def describe_adapters(module: Any) -> list[Any]:
    """List layer, names and scales of the active adapters, which their weights do not contain."""
    return [
        [prefix, sorted([a, float(getattr(layer, "scaling", {}).get(a, 1.0))] for a in active)]
        for prefix, layer in adapter_layers(module)
        if (active := list(layer.active_adapters)) and not getattr(layer, "disable_adapters", False)
    ]


def _load_peft(network: Any, folder: Path, name: str) -> None:
    """Load an adapter that PEFT saved."""
    from peft import PeftConfig, inject_adapter_in_model, set_peft_model_state_dict

    if not (folder / PEFT_WEIGHTS).is_file():
        raise ModelError(f"{folder} has no {PEFT_WEIGHTS}. Convert the adapter to safetensors.")
    weights = read_tensors(folder / PEFT_WEIGHTS)
    _check_peft_config(folder, network, weights)
    state = {key.removeprefix(PEFT_PREFIX): value for key, value in weights.items()}
    try:
        config = PeftConfig.from_pretrained(str(folder))
        inject_adapter_in_model(config, network, adapter_name=name)
        report = set_peft_model_state_dict(network, state, adapter_name=name)
    except Exception as error:  # PEFT raises many kinds for an adapter that does not fit
        raise _misfit(folder, network, str(error)) from error
    if hasattr(network, "_hf_peft_config_loaded"):  # diffusers' flag for a network with adapters
        network._hf_peft_config_loaded = True
    _require_all(folder, network, name, len(state) - len(report.unexpected_keys), len(state))


def _check_peft_config(folder: Path, network: Any, weights: Mapping[str, Any]) -> None:
    """Refuse a config before PEFT makes layers as it says."""
    config = read_json(folder / PEFT_CONFIG)
    kind, rank = config.get("peft_type"), config.get("r")
    if kind != "LORA":
        raise ModelError(
            f"The adapter {folder} is of PEFT's type {kind!r}, and only LORA is supported. Merge "
            "it into the model's weights."
        )
    if not isinstance(config.get("lora_alpha"), (int, float)):
        raise _misfit(folder, network, f"{PEFT_CONFIG} does not say lora_alpha, its scale")
    ranks = [w.shape[0] for key, w in weights.items() if "lora_A" in key and w.ndim > 0]
    if not isinstance(rank, int) or rank < 1 or (ranks and rank > max(ranks)):
        raise _misfit(
            folder, network, f"{PEFT_CONFIG} says r = {rank!r}, and the weights have {ranks[:1]}"
        )


def _load_file(network: Any, pipeline: Any, path: Path, name: str, allow_pickle: bool) -> None:
    """Load an adapter in any naming that diffusers knows."""
    file = read_lora_file(path, allow_pickle)
    if file.is_bare_peft:
        raise ModelError(
            f"PEFT wrote {file.path}, and the scale of the adapter is in {PEFT_CONFIG}, which is "
            "missing. Put it beside the weights, and give their folder."
        )
    component = getattr(pipeline, "unet_name", None) or pipeline.transformer_name
    if not file.network:
        raise ModelError(
            f"The adapter {file.path} changes the text encoder alone, and images are attributed "
            f"through the weights of the {component}, of which it changes none. Leave it out to "
            f"attribute the model's own weights, or give an adapter of the {component}."
        )
    prefix = f"{component}."
    settings: dict[str, Any] = {
        "weight_name": file.path.name,
        "use_safetensors": None if allow_pickle else True,
        "local_files_only": True,
    }
    renamed = file.renamed()
    place: Any = str(file.path.parent)
    try:
        state = pipeline.lora_state_dict(place if renamed is None else dict(renamed), **settings)
        weights = state[0] if isinstance(state, tuple) else state
        source = place if renamed is None else dict(renamed)
        pipeline.load_lora_weights(source, adapter_name=name, **settings)
    except Exception as error:  # diffusers and PEFT raise many kinds for one that does not fit
        raise _misfit(path, network, str(error)) from error
    own = [k for k in weights if k.startswith(prefix) and not k.endswith("alpha")]
    named = len(own) if own or file.encoders else len(weights)
    # A conversion splits tensors and never loses one.
    _require_all(
        path,
        network,
        name,
        len(adapter_parameters(network, [name])),
        max(named, len(file.network)),
    )
    if file.encoders:
        warnings.warn(
            f"The adapter {file.path} changes the text encoder too. Images are attributed through "
            f"its weights in the {component} alone.",
            stacklevel=2,
        )


def _require_all(path: Path, network: Any, name: str, loaded: int, expected: int) -> None:
    """Refuse an adapter unless its tensors and the network's adapter parameters match."""
    places = len(adapter_parameters(network, [name]))
    if loaded != expected or places != expected:
        # PEFT would skip tensors that do not fit and keep random values for missing ones.
        raise _misfit(
            path,
            network,
            f"it has {expected} tensors, {places} fit the network and {loaded} were loaded",
        )


def _misfit(path: Path, network: Any, why: str) -> ModelError:
    text = shorten_reason(why)
    return ModelError(
        f"The adapter {path} does not fit the {type(network).__name__}: {text}. Use an adapter "
        "trained on this base, or the base that it was trained on."
    )
