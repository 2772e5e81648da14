"""Tuned models on disk: adapters for PEFT and diffusers, and complete pipelines."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from creditline import fingerprint
from creditline.diffusion.adapter_files import (
    LORA_WEIGHTS,
    PEFT_CONFIG,
    PEFT_PREFIX,
    PEFT_WEIGHTS,
)
from creditline.diffusion.adapters import load_adapters
from creditline.diffusion.components import load_network, quiet
from creditline.diffusion.denoiser import Denoiser
from creditline.diffusion.process import scheduler_from
from creditline.diffusion.saving import RECORD, check_files, new_model_folder, read_record
from creditline.diffusion.tuning.adapter import NAME
from creditline.diffusion.weight_files import WeightOptions
from creditline.diffusion.weights import fingerprint_weights
from creditline.errors import ModelError

BASE_OPTIONS = {"dtype": str, "pipeline": str, "lora": dict, "variant": str}
"""Options of a base that a record may name, and their types. Permissions are not among them."""


def save_adapter(
    denoiser: Any, settings: Any, folder: Path, record: Mapping[str, Any], aside: Path
) -> None:
    """Write an adapter for PEFT and, if the pipeline supports it, for `load_lora_weights`.

    Args:
        denoiser: a denoiser with the adapter on its network.
        settings: PEFT's config of the adapter.
        folder, record, aside: see `new_model_folder`.
    """
    from peft import get_peft_model_state_dict

    state = get_peft_model_state_dict(denoiser.module, adapter_name=NAME)
    weights = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    values = {k: sorted(v) if isinstance(v, set) else v for k, v in settings.to_dict().items()}
    with new_model_folder(folder, record, aside) as draft:
        draft.mkdir()
        text = json.dumps(values, indent=2, sort_keys=True)
        (draft / PEFT_CONFIG).write_text(text + "\n", "utf-8")
        save_file(
            {PEFT_PREFIX + key: value for key, value in weights.items()}, draft / PEFT_WEIGHTS
        )
        if hasattr(getattr(denoiser, "pipeline", None), "load_lora_weights"):
            # diffusers' files have no alpha, so it is multiplied into one of the two matrices.
            scale = settings.lora_alpha / settings.r
            named = {
                f"{denoiser.component}.{key}": value * scale if ".lora_B." in key else value
                for key, value in weights.items()
            }
            save_file(named, draft / LORA_WEIGHTS, {"format": "pt"})


def save_pipeline(denoiser: Any, folder: Path, record: Mapping[str, Any], aside: Path) -> None:
    """Write a network with its pipeline; arguments as in `new_model_folder`."""
    with new_model_folder(folder, record, aside) as draft, quiet():
        pipeline = denoiser.pipeline
        if pipeline is None:
            denoiser.module.save_pretrained(draft)
            config = {"_class_name": denoiser.process.scheduler_class, **denoiser.process.config}
            scheduler_from(config).save_pretrained(draft / "scheduler")
        else:
            components = {**pipeline.components, denoiser.component: denoiser.module}
            type(pipeline)(**components).save_pretrained(draft)


def describe_base(base: Denoiser) -> dict[str, Any]:
    """Return the location, load options and fingerprint of an adapter's base, for its record."""
    options = {k: v for k, v in base.options.items() if k != "encoding"}
    if "pipeline" in options:
        options["pipeline"] = str(Path(options["pipeline"]).absolute())
    return {
        "source": None if base.source is None else str(Path(base.source).absolute()),
        "options": options,
        "fingerprint": _identity(base),
    }


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter that `train` wrote with a record of its base."""
    return (folder / PEFT_CONFIG).is_file() and "base" in read_record(folder)


def base_source(folder: Path, moved: Any) -> tuple[Any, dict[str, Any]]:
    """Return the location of an adapter's base, and its options for `load_model`.

    Args:
        folder: folder of the adapter.
        moved: the base itself or its new location; None: the recorded location.

    Raises:
        ModelError: if the base is not there.
    """
    base = _read_base(folder)
    if moved is not None:
        return moved, dict(base["options"])
    if base["source"] is None:
        raise ModelError(
            f"The adapter in {folder} was trained on a model in memory. Give its base: "
            "pipeline= (--pipeline)."
        )
    if not Path(base["source"]).exists():
        raise ModelError(
            f"The adapter in {folder} was trained on {base['source']}, which does not exist "
            "any more. Give its new location: pipeline= (--pipeline)."
        )
    return base["source"], dict(base["options"])


def load_tuned_adapter(
    base: Any, folder: Path, adapters: Mapping[str, str], allow_pickle: bool = False
) -> None:
    """Load the adapter in a folder onto its base.

    Args:
        base: a denoiser; its network is changed.
        folder: folder of the adapter.
        adapters: further adapters to activate.
        allow_pickle: accept weights of further adapters that are not safetensors.

    Raises:
        ModelError: if the base is a different model, or an adapter does not fit.
    """
    record = _read_base(folder)
    identity = _identity(base)
    if identity != record["fingerprint"]:
        raise ModelError(
            f"The adapter in {folder} was trained on a base {record['fingerprint']}; "
            f"{base.source or type(base.module).__name__} is {identity}, with other "
            "weights or another process. Give the base of its training (pipeline=, --pipeline)."
        )
    pipeline = getattr(base, "pipeline", None)
    load_adapters(base.module, pipeline, {NAME: str(folder), **adapters}, allow_pickle)


def load_tuned(folder: Path, base: Any) -> Any:
    """Load a tuned model without loading its base again.

    Args:
        folder: an adapter or a pipeline.
        base: the denoiser that was tuned; it is not changed, and shares its frozen components.

    Raises:
        ModelError: if the base is a different model.
    """
    check_files(folder)
    denoiser = copy.deepcopy(base)
    if is_adapter(folder):
        load_tuned_adapter(denoiser, folder, {})
    else:
        inner = folder if denoiser.pipeline is None else folder / denoiser.component
        denoiser.module = load_network(
            inner, type(base.module), WeightOptions(dtype=base.dtype)
        ).eval()
    return denoiser


def recorded_encoding(folder: Path) -> dict[str, Any]:
    """Return the encoding settings that a model was tuned with, if they are not the defaults."""
    path = folder / RECORD
    encoding = read_record(folder).get("encoding", {})
    if not isinstance(encoding, dict):
        raise ModelError(f"{path} has an encoding {encoding!r}, which is no settings by name.")
    return dict(encoding)


def _read_base(folder: Path) -> dict[str, Any]:
    """Read what a record says of an adapter's base.

    Raises:
        ModelError: if it is damaged, or grants something that only the user can allow.
    """
    path = folder / RECORD
    base = read_record(folder).get("base")
    options = base.get("options") if isinstance(base, dict) else None
    if not isinstance(base, dict) or not isinstance(options, dict):
        raise ModelError(f"{path} does not say what the adapter was trained on. Train it again.")
    if not isinstance(base.get("source"), (str, type(None))) or "fingerprint" not in base:
        raise ModelError(f"{path} does not say where the adapter's base is. Train it again.")
    for name, value in options.items():
        if name not in BASE_OPTIONS or not isinstance(value, BASE_OPTIONS[name]):
            raise ModelError(
                f"{path} names the option {name} = {value!r} of the base, which a record cannot "
                "give. Give the base and its options yourself (pipeline=, --pipeline)."
            )
    return base


def _identity(base: Denoiser) -> str:
    """Hash a base's weights and process; its encoding settings may change."""
    return fingerprint.of_json([fingerprint_weights(base.module), base.process.to_dict()])
