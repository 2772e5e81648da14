"""Loading models: pipeline folders, bare model folders, run folders and objects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from creditline.diffusion.denoiser import Denoiser, UNetDenoiser
from creditline.diffusion.process import DiscreteProcess
from creditline.errors import ModelError

SUPPORTED = ("UNet2DModel",)
RECORD = "creditline.json"


def load_model(
    source: Any,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    scheduler: Any = None,
    allow_pickle: bool = False,
) -> Denoiser:
    """Load a diffusion model.

    Args:
        source: a pipeline folder (`model_index.json`), a bare model folder (`config.json`), a run
            folder of `creditline train`, one of its checkpoints, a pipeline or `UNet2DModel`
            object, or a `Denoiser`, which is returned as it is.
        device: where to put it.
        dtype: type of its weights.
        scheduler: of a bare model: a folder, a config or a scheduler object.
        allow_pickle: accept weights that are not safetensors; loading them can run code.

    Raises:
        ModelError: if there is no model, its class is not supported, its scheduler is not known,
            or its weights are not safetensors.
    """
    if isinstance(source, UNetDenoiser):
        return source
    if not isinstance(source, (str, Path)):
        return _from_object(source, scheduler).to(device, dtype)
    folder = Path(source)
    if (folder / "model" / "model_index.json").is_file():
        folder = folder / "model"
    if (folder / "model_index.json").is_file():
        index = json.loads((folder / "model_index.json").read_text("utf-8"))
        part, kind = next(
            ((p, index[p][1]) for p in ("unet", "transformer") if p in index), ("unet", None)
        )
        _require_supported(kind, folder)
        scheduler = scheduler or folder / "scheduler"
        unet = _load_unet(folder / part, allow_pickle)
    elif (folder / "config.json").is_file():
        config = json.loads((folder / "config.json").read_text("utf-8"))
        _require_supported(config.get("_class_name"), folder)
        beside = next(
            (p for p in (folder / "scheduler", folder.parent / "scheduler") if p.is_dir()), None
        )
        scheduler = scheduler or beside
        unet = _load_unet(folder, allow_pickle)
    else:
        raise ModelError(
            f"{folder} is not a model: it has neither model_index.json (a pipeline), nor "
            "config.json (a bare model), nor model/ (a run of `creditline train`)."
        )
    process = DiscreteProcess.from_scheduler(_scheduler(scheduler, folder))
    return UNetDenoiser(unet, process, str(source)).to(device, dtype)


def checkpoints(run: str | Path) -> list[Path]:
    """Checkpoints of a training run, oldest first.

    Raises:
        ModelError: if there are none.
    """
    found = sorted((Path(run) / "checkpoints").glob("step-*"))
    if not found:
        raise ModelError(f"{run} has no checkpoints. Train with --checkpoint-every.")
    return found


def learning_rate(source: str | Path | None) -> float | None:
    """Learning rate at a checkpoint's step, or None where it is not recorded."""
    record = Path(source) / RECORD if source is not None else None
    if record is None or not record.is_file():
        return None
    value = json.loads(record.read_text("utf-8")).get("learning_rate")
    return None if value is None else float(value)


def _from_object(source: Any, scheduler: Any) -> UNetDenoiser:
    unet = getattr(source, "unet", source)
    _require_supported(type(unet).__name__, source)
    process = DiscreteProcess.from_scheduler(
        _scheduler(scheduler or getattr(source, "scheduler", None), type(source).__name__)
    )
    return UNetDenoiser(unet, process)


def _require_supported(kind: str | None, where: object) -> None:
    if kind not in SUPPORTED:
        raise ModelError(f"The network of {where} is a {kind}; supported: {', '.join(SUPPORTED)}.")


def _load_unet(folder: Path, allow_pickle: bool) -> Any:
    from diffusers import UNet2DModel

    if not any(folder.glob("*.safetensors")) and not allow_pickle:
        raise ModelError(
            f"{folder} has no safetensors weights. Convert them, or pass allow_pickle=True "
            "(--allow-pickle) if you trust where they came from: loading pickles can run code."
        )
    try:
        return UNet2DModel.from_pretrained(folder, use_safetensors=None if allow_pickle else True)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ModelError(f"The network in {folder} cannot be loaded: {error}") from error


def _scheduler(scheduler: Any, where: object) -> Any:
    """A scheduler object or config from whatever was given."""
    if scheduler is None:
        raise ModelError(
            f"{where} comes without a scheduler, so its noise levels are not known. Pass "
            "scheduler= (--scheduler): a scheduler folder, its config or an object."
        )
    if isinstance(scheduler, (str, Path)):
        path = Path(scheduler)
        path = path / "scheduler_config.json" if path.is_dir() else path
        if not path.is_file():
            raise ModelError(f"There is no scheduler at {scheduler}: {path.name} is missing.")
        return json.loads(path.read_text("utf-8"))
    if not isinstance(scheduler, Mapping) and not hasattr(scheduler, "config"):
        raise ModelError(f"A {type(scheduler).__name__} is not a scheduler.")
    return scheduler
