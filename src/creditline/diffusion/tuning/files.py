"""Tuned models on disk: adapters as PEFT and diffusers read them, networks in their pipelines."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from creditline import fingerprint
from creditline.diffusion.adapters import PEFT_CONFIG, PEFT_PREFIX, PEFT_WEIGHTS, load_adapters
from creditline.diffusion.components import load_network, quiet, read_json
from creditline.diffusion.denoiser import Denoiser
from creditline.diffusion.process import scheduler_from
from creditline.diffusion.saving import RECORD, recorded
from creditline.diffusion.tuning.adapter import NAME
from creditline.diffusion.weights import fingerprint_of
from creditline.errors import ModelError

LORA_WEIGHTS = "pytorch_lora_weights.safetensors"
"""The name that diffusers looks for."""


def save_adapter(
    denoiser: Any, settings: Any, folder: Path, record: Mapping[str, Any], aside: Path
) -> None:
    """Write an adapter for PEFT and, where the pipeline takes any, for `load_lora_weights`.

    Args:
        denoiser: with the adapter on its network.
        settings: PEFT's, of the adapter.
        folder, record, aside: as of `recorded`.
    """
    from peft import get_peft_model_state_dict

    state = get_peft_model_state_dict(denoiser.module, adapter_name=NAME)
    weights = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    values = {k: sorted(v) if isinstance(v, set) else v for k, v in settings.to_dict().items()}
    with recorded(folder, record, aside) as draft:
        draft.mkdir()
        text = json.dumps(values, indent=2, sort_keys=True)
        (draft / PEFT_CONFIG).write_text(text + "\n", "utf-8")
        save_file(
            {PEFT_PREFIX + key: value for key, value in weights.items()}, draft / PEFT_WEIGHTS
        )
        if hasattr(getattr(denoiser, "pipeline", None), "load_lora_weights"):
            # Files of diffusers know no alpha: it is multiplied into one of the two matrices.
            scale = settings.lora_alpha / settings.r
            named = {
                f"{denoiser.part}.{key}": value * scale if ".lora_B." in key else value
                for key, value in weights.items()
            }
            save_file(named, draft / LORA_WEIGHTS, {"format": "pt"})


def save_whole(denoiser: Any, folder: Path, record: Mapping[str, Any], aside: Path) -> None:
    """Write a network with the frozen parts around it; arguments as of `recorded`."""
    with recorded(folder, record, aside) as draft, quiet():
        pipeline = denoiser.pipeline
        if pipeline is None:
            denoiser.module.save_pretrained(draft)
            config = {"_class_name": _scheduler_name(denoiser), **denoiser.process.config}
            scheduler_from(config).save_pretrained(draft / "scheduler")
        else:
            parts = {**pipeline.components, denoiser.part: denoiser.module}
            type(pipeline)(**parts).save_pretrained(draft)


def describe_base(base: Denoiser) -> dict[str, Any]:
    """How an adapter's record tells where its base is and knows it again."""
    options = {k: v for k, v in base.options.items() if k != "encoding"}
    if "pipeline" in options:
        options["pipeline"] = str(Path(options["pipeline"]).absolute())
    return {
        "source": None if base.source is None else str(Path(base.source).absolute()),
        "options": options,
        "fingerprint": _identity(base),
    }


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter that was trained here, and so knows its base."""
    if not (folder / PEFT_CONFIG).is_file() or not (folder / RECORD).is_file():
        return False
    return "base" in read_json(folder / RECORD)


def base_source(folder: Path, moved: Any) -> tuple[Any, dict[str, Any]]:
    """Where the base of an adapter is, and its options for `load_model`.

    Args:
        folder: of the adapter.
        moved: the base itself or where it is now; None: where it was.

    Raises:
        ModelError: if it is not there.
    """
    base = read_json(folder / RECORD)["base"]
    if moved is not None:
        return moved, dict(base["options"])
    if base["source"] is None:
        raise ModelError(
            f"The adapter in {folder} was trained on a model in memory. Say what it is on: "
            "pipeline= (--pipeline)."
        )
    if not Path(base["source"]).exists():
        raise ModelError(
            f"The adapter in {folder} was trained on {base['source']}, which is not there any "
            "more. Say where it is now: pipeline= (--pipeline)."
        )
    return base["source"], dict(base["options"])


def put_on(
    base: Any, folder: Path, adapters: Mapping[str, str], allow_pickle: bool = False
) -> None:
    """Load the adapter in a folder onto its base.

    Args:
        base: a denoiser; its network is changed.
        folder: of the adapter.
        adapters: further ones, that act with it.
        allow_pickle: accept weights of those that are not safetensors.

    Raises:
        ModelError: if the base is another, or an adapter does not fit.
    """
    record = read_json(folder / RECORD)["base"]
    found = _identity(base)
    if found != record["fingerprint"]:
        raise ModelError(
            f"The adapter in {folder} was trained on a base {record['fingerprint']}; "
            f"{base.source or type(base.module).__name__} is {found}, of other weights or another "
            "noise process. Use the base that it was trained on (pipeline=, --pipeline)."
        )
    pipeline = getattr(base, "pipeline", None)
    load_adapters(base.module, pipeline, {NAME: str(folder), **adapters}, allow_pickle)


def load_tuned(folder: Path, base: Any) -> Any:
    """What a tuning wrote, without loading its base again.

    Args:
        folder: an adapter or a pipeline.
        base: the denoiser that was tuned; it is left as it is, and its frozen parts are shared.

    Raises:
        ModelError: if the base is another.
    """
    denoiser = copy.deepcopy(base)
    if is_adapter(folder):
        put_on(denoiser, folder, {})
    else:
        inner = folder if denoiser.pipeline is None else folder / denoiser.part
        denoiser.module = load_network(inner, type(base.module), dtype=base.dtype).eval()
    return denoiser


def recorded_encoding(folder: Path) -> dict[str, Any]:
    """Choices of encoding that a model was tuned with, where they are not the usual ones."""
    path = folder / RECORD
    return dict(read_json(path).get("encoding", {})) if path.is_file() else {}


def _identity(base: Denoiser) -> str:
    """Hash of a base's weights and process; how it encodes may be chosen anew."""
    return fingerprint.of_json([fingerprint_of(base.module), base.process.to_dict()])


def _scheduler_name(denoiser: Any) -> str:
    flow = denoiser.process.prediction == "flow"
    return "FlowMatchEulerDiscreteScheduler" if flow else "DDPMScheduler"
