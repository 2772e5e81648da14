"""LoRA files: every tensor is accounted for before a library filters some of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from creditline.diffusion.reason import shorten_reason
from creditline.errors import ModelError

PEFT_CONFIG, PEFT_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PEFT_PREFIX = "base_model.model."
LORA_WEIGHTS = "pytorch_lora_weights.safetensors"
"""File name that diffusers expects."""

ENCODERS = re.compile(r"text_encoder(_\d)?\.|lora_te\d*_|text_model\.")
FACTOR = re.compile(r"lora\w*[._](A|B|down|up)(\.\w+)?\.(weight|bias)|lora_[AB]")
"""End of the name of a low-rank matrix, in the naming of PEFT, diffusers or kohya."""
MAGNITUDE = re.compile(r"lora_magnitude_vector(\.\w+)*")
ALPHA = re.compile(r"(^|\.)alpha")


@dataclass(frozen=True)
class LoRAFile:
    """The tensors of an adapter's file.

    Attributes:
        path: of the file.
        network: names of the network's tensors, scales apart.
        encoders: names of the text encoders' tensors, scales apart.
        state: all tensors by their names in the file.
    """

    path: Path
    network: tuple[str, ...]
    encoders: tuple[str, ...]
    state: Mapping[str, Any]

    @property
    def is_bare_peft(self) -> bool:
        """Whether PEFT wrote it, so that its scale is in another file."""
        return all(name.startswith(PEFT_PREFIX) for name in self.state)

    def renamed(self) -> dict[str, Any] | None:
        """The tensors without PEFT's prefix after the network's name; None if none has it."""
        if not any(f".{PEFT_PREFIX}" in name for name in self.state):
            return None
        return {
            name.replace(f".{PEFT_PREFIX}", ".", 1): value for name, value in self.state.items()
        }


def read_lora_file(place: Path, allow_pickle: bool) -> LoRAFile:
    """Read the file of an adapter and sort its tensors.

    Args:
        place: the file, or a folder of one.
        allow_pickle: accept a file that is not safetensors.

    Raises:
        ModelError: if there is no such file or more than one, it is damaged, or it holds tensors
            that are not of a LoRA adapter.
    """
    path = _only_file(place, allow_pickle) if place.is_dir() else place
    state = read_tensors(path, allow_pickle)
    network, encoders, strange = [], [], []
    for name in state:
        if ALPHA.search(name) and name.endswith("alpha"):
            continue
        if not (_ends(FACTOR, name) or _ends(MAGNITUDE, name)):
            strange.append(name)
        elif ENCODERS.match(name):
            encoders.append(name)
        else:
            network.append(name)
    if strange:
        raise _refusal(path, strange, len(state))
    return LoRAFile(path, tuple(network), tuple(encoders), state)


def read_tensors(path: Path, allow_pickle: bool = False) -> dict[str, Any]:
    """Read all tensors of a file.

    Raises:
        ModelError: if it is no regular file, is damaged, empty, or a pickle that is not allowed.
    """
    import torch
    from safetensors.torch import load_file

    if not path.is_file():
        raise ModelError(f"{path} is not a regular file. Give the file of an adapter.")
    if path.suffix != ".safetensors" and not allow_pickle:
        raise ModelError(
            f"{path} is not safetensors. Convert it, or pass allow_pickle=True (--allow-pickle) if "
            "you trust where it came from: loading pickles can run code."
        )
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # many kinds, for damaged headers and pickles
        raise ModelError(
            f"The adapter {path} cannot be read: {shorten_reason(error)}. Get it from "
            "its source again."
        ) from error
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise ModelError(f"{path} holds something else than tensors by name. Give an adapter.")
    if not state:
        raise ModelError(f"{path} holds no tensors. Give an adapter that was trained.")
    return state


def _only_file(folder: Path, allow_pickle: bool) -> Path:
    """Return the file of an adapter in a folder."""
    if (folder / LORA_WEIGHTS).is_file():
        return folder / LORA_WEIGHTS
    for ending in ("safetensors", "bin") if allow_pickle else ("safetensors",):
        files = sorted(folder.glob(f"*.{ending}"))
        if len(files) == 1:
            return files[0]
        if files:
            names = ", ".join(file.name for file in files[:5])
            raise ModelError(f"{folder} holds {len(files)} adapters, {names}. Name one of them.")
    raise ModelError(
        f"{folder} holds no adapter: neither {PEFT_CONFIG} nor a .safetensors file. Give the "
        "adapter's file or folder."
    )


def _ends(pattern: re.Pattern[str], name: str) -> bool:
    return any(match.end() == len(name) for match in pattern.finditer(name))


def _refusal(path: Path, names: list[str], total: int) -> ModelError:
    if any(name.endswith("dora_scale") for name in names):
        why = (
            "it is a DoRA adapter in kohya's naming, whose magnitudes (dora_scale) diffusers would "
            "drop. Convert it to PEFT's format, or merge it into the model's weights"
        )
    else:
        why = (
            f"{len(names)} of its {total} tensors are not of a LoRA adapter, such as {names[0]}. "
            "Convert it to LoRA, or merge it into the model's weights"
        )
    return ModelError(f"The adapter {path} cannot be used: {why}.")
