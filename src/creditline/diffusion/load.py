"""Loading models: pipeline folders, network folders, run folders and objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from creditline.checksum import damaged
from creditline.diffusion.adapter_files import PEFT_CONFIG
from creditline.diffusion.adapters import check_adapters, load_adapters
from creditline.diffusion.denoiser import Denoiser
from creditline.diffusion.encoding_config import EncodingConfig
from creditline.diffusion.json_file import read_json
from creditline.diffusion.model_parts import from_folder, from_object
from creditline.diffusion.model_source import ModelSource, SchedulerSource
from creditline.diffusion.saving import check_files, read_record
from creditline.diffusion.tuning.files import (
    base_source,
    is_adapter,
    load_tuned_adapter,
    recorded_encoding,
)
from creditline.diffusion.weight_files import WeightOptions
from creditline.errors import ModelError
from creditline.explain import explained
from creditline.settings import from_dict

MARKERS = ("model_index.json", PEFT_CONFIG, "config.json")
"""Files that identify a folder as a model: a pipeline, an adapter, a network."""


@explained
def load_model(
    source: ModelSource,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | str = torch.float32,
    scheduler: SchedulerSource | None = None,
    pipeline: ModelSource | None = None,
    lora: str | Path | Sequence[str | Path] | Mapping[str, str | Path] | None = None,
    encoding: EncodingConfig | Mapping[str, Any] | None = None,
    variant: str | None = None,
    allow_pickle: bool = False,
) -> Denoiser:
    """Load a diffusion model.

    Args:
        source: a pipeline folder (`model_index.json`), a network folder (`config.json`), a run
            folder of `creditline train`, one of its checkpoints, a pipeline or network object, a
            network in a `PeftModel`, or a `Denoiser`, which is returned unchanged. A run that
            trained an adapter finds its base model by itself.
        device: device of the network; an object is moved, not copied.
        dtype: type of the network's weights.
        scheduler: scheduler of a network folder: a folder, a config or a scheduler object.
        pipeline: pipeline that a network belongs to, for its autoencoder, text encoders and
            scheduler, or the base model of a run's adapter, if it moved: a folder or an object.
        lora: adapters: a file or PEFT folder, several, or several by name.
        encoding: how images and captions are encoded.
        variant: variant of the weight files, such as `"fp16"`, `"bf16"` or `"non_ema"`; by
            default the files without one, or the only variant there is.
        allow_pickle: accept weights that are not safetensors; loading them can run code.

    Returns:
        The model as a `Denoiser`.

    Raises:
        ModelError: if there is no model, its class is not supported, a component is missing, an
            adapter does not fit, its scheduler is not known, or its weights are not safetensors;
            if a `Denoiser` is given with further arguments.
    """
    if isinstance(source, Denoiser):
        if pipeline is not None or lora is not None or encoding is not None:
            raise ModelError(
                "This model is loaded already; its components, adapters and encoding cannot be "
                "changed. Give them when it is loaded."
            )
        return source
    weight_type: Any = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(weight_type, torch.dtype):
        raise ModelError(f"{dtype!r} is no type of weights. Use float32, bfloat16 or float16.")
    weights = WeightOptions(allow_pickle, weight_type, variant)
    config = (
        encoding
        if isinstance(encoding, EncodingConfig)
        else from_dict(EncodingConfig, encoding or {})
    )
    adapters = _adapters_by_name(lora)
    check_adapters(adapters)
    if isinstance(source, (str, Path)):
        folder = _model_folder(Path(source))
        check_files(folder)
        config = from_dict(EncodingConfig, {**recorded_encoding(folder), **config.changes()})
        if is_adapter(folder):
            values = {"dtype": dtype, "scheduler": scheduler, "variant": variant}
            defaults = {"dtype": torch.float32, "scheduler": None, "variant": None}
            changes = {name: value for name, value in values.items() if value != defaults[name]}
            return _load_tuned(
                source, folder, pipeline, adapters, config, device, allow_pickle, **changes
            )
        parts = from_folder(folder, pipeline, weights)
    else:
        parts = from_object(source, pipeline, weights)
    noise_schedule = _find_scheduler(
        parts.scheduler if scheduler is None else scheduler, parts.label
    )
    if adapters:
        load_adapters(parts.network, parts.pipeline, adapters, allow_pickle)
    family = parts.family
    denoiser = family(
        parts.network,
        family.process_class.from_scheduler(noise_schedule),
        parts.pipeline if family.uses_pipeline else None,
        config,
        str(source) if isinstance(source, (str, Path)) else None,
    )
    changed = config.changes()
    full = weight_type == torch.float32
    denoiser.options = {
        **({} if full else {"dtype": str(weight_type).removeprefix("torch.")}),
        **({"pipeline": str(pipeline)} if isinstance(pipeline, (str, Path)) else {}),
        **({"lora": adapters} if adapters else {}),
        **({"variant": variant} if variant is not None else {}),
        **({"encoding": changed} if changed else {}),
    }
    return denoiser.to(device, weight_type)


def checkpoints(run: str | Path) -> list[Path]:
    """Return the checkpoint folders of a training run, oldest first, for `load_model`.

    Raises:
        ModelError: if there are none.
        DamageError: if one has lost the file that says what it holds.
    """
    listed = (Path(run) / "checkpoints").glob("step-*/")
    folders = {int(x.name[5:]): x for x in listed if x.name[5:].isdecimal() and any(x.iterdir())}
    if not folders:
        raise ModelError(f"{run} has no checkpoints. Train with --checkpoint-every.")
    for folder in folders.values():
        if not any((folder / name).is_file() for name in MARKERS):
            raise damaged(
                folder,
                "Restore it from a backup, or remove the folder if its checkpoint is not needed.",
                f"none of {', '.join(MARKERS)} is there",
            )
    return [folders[step] for step in sorted(folders)]


def learning_rate(source: str | Path | None) -> float | None:
    """Return the learning rate of a checkpoint's last update, a weight in TracIn.

    A run folder stands for its final model, as in `load_model`. At the end of the cosine schedule
    the rate is almost 0, so TracIn needs checkpoints from the middle.

    Args:
        source: a checkpoint, a run folder, another model's folder, or None for one in memory.

    Returns:
        The rate, or None if none is recorded.

    Raises:
        DamageError: if the record is damaged.
    """
    if source is None:
        return None
    value = read_record(_model_folder(Path(source))).get("learning_rate")
    return None if value is None else float(value)


def _model_folder(folder: Path) -> Path:
    """Return the folder of a run's final model; any other folder itself."""
    inner = folder / "model"
    return inner if any((inner / name).is_file() for name in MARKERS) else folder


def _load_tuned(
    source: Any,
    folder: Path,
    pipeline: Any,
    adapters: dict[str, str],
    encoding: EncodingConfig,
    device: str | torch.device,
    allow_pickle: bool,
    **settings: Any,
) -> Denoiser:
    """Load the adapter that a run trained, on its base model."""
    place, options = base_source(folder, pipeline)
    base: Any = load_model(
        place, **{**options, **settings}, encoding=encoding, allow_pickle=allow_pickle
    )
    load_tuned_adapter(base, folder, adapters, allow_pickle)
    base.source = str(source)
    moved = {"pipeline": str(pipeline)} if isinstance(pipeline, (str, Path)) else {}
    added = {"lora": adapters} if adapters else {}
    inherited = {k: v for k, v in base.options.items() if k in ("dtype", "encoding", "variant")}
    base.options = {**inherited, **moved, **added}
    return base.to(device)


def _adapters_by_name(lora: Any) -> dict[str, str]:
    if lora is None:
        return {}
    if isinstance(lora, Mapping):
        return {str(name): str(path) for name, path in lora.items()}
    if isinstance(lora, (str, Path)):
        return {"adapter": str(lora)}
    return {f"adapter_{i}": str(path) for i, path in enumerate(lora)}


def _find_scheduler(scheduler: Any, label: object) -> Any:
    """Return a scheduler object or config."""
    if scheduler is None:
        raise ModelError(
            f"{label} comes without a scheduler, so its noise levels are not known. Pass "
            "scheduler= (--scheduler): a scheduler folder, its config or an object."
        )
    if isinstance(scheduler, (str, Path)):
        path = Path(scheduler)
        path = path / "scheduler_config.json" if path.is_dir() else path
        if not path.is_file():
            raise ModelError(f"There is no scheduler at {scheduler}: {path.name} is missing.")
        return read_json(path)
    if not isinstance(scheduler, Mapping) and not hasattr(scheduler, "config"):
        raise ModelError(f"A {type(scheduler).__name__} is not a scheduler.")
    return scheduler
