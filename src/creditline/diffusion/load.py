"""Loading models: pipeline folders, bare model folders, run folders and objects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from creditline.diffusion.denoiser import Denoiser, UNetDenoiser
from creditline.diffusion.pipeline import RECORD
from creditline.diffusion.process import DiscreteProcess
from creditline.errors import ModelError

SUPPORTED = ("UNet2DModel",)


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
            object, or anything that is a `Denoiser`, which is returned as it is.
        device: where to put it; an object is moved, not copied.
        dtype: type of its weights.
        scheduler: of a bare model: a folder, a config or a scheduler object.
        allow_pickle: accept weights that are not safetensors; loading them can run code.

    Raises:
        ModelError: if there is no model, its class is not supported, its scheduler is not known,
            or its weights are not safetensors.
    """
    if isinstance(source, Denoiser):
        return source
    if not isinstance(source, (str, Path)):
        return _from_object(source, scheduler).to(device, dtype)
    folder = _model_folder(Path(source))
    if (folder / "model_index.json").is_file():
        index = _read_json(folder / "model_index.json")
        part = next((p for p in ("unet", "transformer") if index.get(p)), "unet")
        _require_supported((index.get(part) or [None, None])[1], folder)
        beside: Path | None = folder / "scheduler"
        network = folder / part
    elif (folder / "config.json").is_file():
        _require_supported(_read_json(folder / "config.json").get("_class_name"), folder)
        places = (folder / "scheduler", folder.parent / "scheduler")
        beside = next((p for p in places if p.is_dir()), None)
        network = folder
    elif not folder.exists():
        raise ModelError(f"There is no {folder}. Give a model's folder, or a model object.")
    else:
        raise ModelError(
            f"{folder} is not a model: it has neither model_index.json (a pipeline), nor "
            "config.json (a bare model), nor model/ (a finished run of `creditline train`)."
        )
    process = DiscreteProcess.from_scheduler(
        _scheduler(beside if scheduler is None else scheduler, folder)
    )
    unet = _load_unet(network, allow_pickle)
    return UNetDenoiser(unet, process, str(source)).to(device, dtype)


def checkpoints(run: str | Path) -> list[Path]:
    """Checkpoints of a training run, oldest first. `load_model` takes each.

    Raises:
        ModelError: if there are none.
    """
    found = [
        folder
        for folder in (Path(run) / "checkpoints").glob("step-*")
        if (folder / "model_index.json").is_file()
    ]
    if not found:
        raise ModelError(f"{run} has no checkpoints. Train with --checkpoint-every.")
    return sorted(found, key=lambda folder: int(folder.name.removeprefix("step-")))


def learning_rate(source: str | Path | None) -> float | None:
    """Learning rate of the update that led to a model of `train`, for TracIn's weights.

    A run folder stands for its final model, as in `load_model`; at the end of the cosine its rate
    is almost 0, so TracIn wants checkpoints from the middle.

    Args:
        source: a checkpoint, a run folder, another model's folder, or None for one in memory.

    Returns:
        The rate, or None where none is recorded.

    Raises:
        ModelError: if the record is damaged.
    """
    if source is None:
        return None
    path = _model_folder(Path(source)) / RECORD
    value = _read_json(path).get("learning_rate") if path.is_file() else None
    return None if value is None else float(value)


def _model_folder(folder: Path) -> Path:
    """The pipeline of a run folder; any other folder itself."""
    inner = folder / "model"
    return inner if (inner / "model_index.json").is_file() else folder


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path} should hold a JSON object and holds a {type(values).__name__}.")
    return values


def _from_object(source: Any, scheduler: Any) -> UNetDenoiser:
    unet = getattr(source, "unet", source)
    _require_supported(type(unet).__name__, f"the object given ({type(source).__name__})")
    if scheduler is None:
        scheduler = getattr(source, "scheduler", None)
    process = DiscreteProcess.from_scheduler(_scheduler(scheduler, type(source).__name__))
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
        unet, found = UNet2DModel.from_pretrained(
            folder, use_safetensors=None if allow_pickle else True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise ModelError(f"The network in {folder} cannot be loaded: {error}") from error
    if found["missing_keys"] or found["unexpected_keys"]:
        # diffusers would fill what is missing with random weights and only warn.
        raise ModelError(
            f"The weights in {folder} are not those of its config.json: "
            f"{len(found['missing_keys'])} are missing and {len(found['unexpected_keys'])} are "
            f"left over, such as {[*found['missing_keys'], *found['unexpected_keys']][0]}."
        )
    return unet


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
        return _read_json(path)
    if not isinstance(scheduler, Mapping) and not hasattr(scheduler, "config"):
        raise ModelError(f"A {type(scheduler).__name__} is not a scheduler.")
    return scheduler
