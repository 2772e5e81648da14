"""Loading models: pipeline folders, bare model folders, run folders and objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from creditline.diffusion.adapters import PEFT_CONFIG, check_adapters, load_adapters
from creditline.diffusion.components import read_json
from creditline.diffusion.denoiser import Denoiser, NetworkDenoiser, UNetDenoiser
from creditline.diffusion.encoding_config import EncodingConfig
from creditline.diffusion.model_parts import from_folder, from_object
from creditline.diffusion.process import DiscreteProcess
from creditline.diffusion.saving import RECORD
from creditline.diffusion.tuning.files import (
    base_source,
    is_adapter,
    put_on,
    recorded_encoding,
)
from creditline.errors import ModelError
from creditline.settings import from_dict, to_dict

MARKS = ("model_index.json", PEFT_CONFIG, "config.json")
"""Files by which a folder that a run wrote is a model: a pipeline, an adapter, a bare network."""


def load_model(
    source: Any,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | str = torch.float32,
    scheduler: Any = None,
    pipeline: Any = None,
    lora: str | Path | Sequence[str | Path] | Mapping[str, str | Path] | None = None,
    encoding: EncodingConfig | Mapping[str, Any] | None = None,
    allow_pickle: bool = False,
) -> Denoiser:
    """Load a diffusion model.

    Args:
        source: a pipeline folder (`model_index.json`), a bare model folder (`config.json`), a run
            folder of `creditline train`, one of its checkpoints, a pipeline or network object, a
            network in a `PeftModel`, or anything that is a `Denoiser`, which is returned as it is.
            A run that trained an adapter finds its base by itself.
        device: where to put it; an object is moved, not copied.
        dtype: type of its weights.
        scheduler: of a bare model: a folder, a config or a scheduler object.
        pipeline: where a bare network's autoencoder, text encoders and scheduler come from, or
            the base of a run's adapter, if it moved: a folder or an object.
        lora: adapters that act on it: a file or PEFT folder, several, or several by name.
        encoding: choices between pictures with captions and the network's tensors.
        allow_pickle: accept weights that are not safetensors; loading them can run code.

    Raises:
        ModelError: if there is no model, its class is not supported, a part is missing, an adapter
            does not fit, its scheduler is not known, or its weights are not safetensors; if a
            `Denoiser` is given further parts.
    """
    if isinstance(source, Denoiser):
        if pipeline is not None or lora is not None or encoding is not None:
            raise ModelError(
                "This model is loaded already; its parts, adapters and encoding are as they are. "
                "Give them when it is loaded."
            )
        return source
    kind: torch.dtype = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    chosen = (
        encoding
        if isinstance(encoding, EncodingConfig)
        else from_dict(EncodingConfig, encoding or {})
    )
    adapters = _by_name(lora)
    check_adapters(adapters)
    if isinstance(source, (str, Path)):
        folder = _model_folder(Path(source))
        chosen = from_dict(EncodingConfig, {**recorded_encoding(folder), **_changed(chosen)})
        if is_adapter(folder):
            told = {"dtype": dtype, "scheduler": scheduler}
            usual = {"dtype": torch.float32, "scheduler": None}
            settings = {name: value for name, value in told.items() if value != usual[name]}
            return _tuned(
                source, folder, pipeline, adapters, chosen, device, allow_pickle, **settings
            )
        found = from_folder(folder, pipeline, allow_pickle, kind)
    else:
        found = from_object(source, pipeline, allow_pickle, kind)
    named = str(source) if isinstance(source, (str, Path)) else None
    noise = _scheduler(found.scheduler if scheduler is None else scheduler, found.label)
    if adapters:
        load_adapters(found.network, found.pipeline, adapters, allow_pickle)
    denoiser: NetworkDenoiser
    if found.family is None:
        if chosen != EncodingConfig():
            raise ModelError(
                "This model works on pixels and encodes nothing. Leave out "
                + ", ".join(_changed(chosen))
                + "."
            )
        denoiser = UNetDenoiser(found.network, DiscreteProcess.from_scheduler(noise), named)
    else:
        process = found.family.process_kind.from_scheduler(noise)
        denoiser = found.family(found.network, process, found.pipeline, chosen, named)
    denoiser.options = {
        **({"dtype": str(kind).removeprefix("torch.")} if kind != torch.float32 else {}),
        **({"pipeline": str(pipeline)} if isinstance(pipeline, (str, Path)) else {}),
        **({"lora": adapters} if adapters else {}),
        **({"encoding": _changed(chosen)} if _changed(chosen) else {}),
    }
    return denoiser.to(device, kind)


def checkpoints(run: str | Path) -> list[Path]:
    """Checkpoints of a training run, oldest first. `load_model` takes each.

    Raises:
        ModelError: if there are none.
    """
    found = [
        folder
        for folder in (Path(run) / "checkpoints").glob("step-*")
        if any((folder / name).is_file() for name in MARKS)
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
    value = read_json(path).get("learning_rate") if path.is_file() else None
    return None if value is None else float(value)


def _model_folder(folder: Path) -> Path:
    """The pipeline of a run folder; any other folder itself."""
    inner = folder / "model"
    return inner if any((inner / name).is_file() for name in MARKS) else folder


def _tuned(
    source: Any,
    folder: Path,
    pipeline: Any,
    adapters: dict[str, str],
    encoding: EncodingConfig,
    device: str | torch.device,
    allow_pickle: bool,
    **settings: Any,
) -> Denoiser:
    """The adapter that a run trained, on its base."""
    where, options = base_source(folder, pipeline)
    base: Any = load_model(
        where, **{**options, **settings}, encoding=encoding, allow_pickle=allow_pickle
    )
    put_on(base, folder, adapters, allow_pickle)
    base.source = str(source)
    moved = {"pipeline": str(pipeline)} if isinstance(pipeline, (str, Path)) else {}
    added = {"lora": adapters} if adapters else {}
    kept = {k: v for k, v in base.options.items() if k in ("dtype", "encoding")}
    base.options = {**kept, **moved, **added}
    return base.to(device)


def _by_name(lora: Any) -> dict[str, str]:
    """Adapters by name."""
    if lora is None:
        return {}
    if isinstance(lora, Mapping):
        return {str(name): str(path) for name, path in lora.items()}
    if isinstance(lora, (str, Path)):
        return {"adapter": str(lora)}
    return {f"adapter_{i}": str(path) for i, path in enumerate(lora)}


def _changed(encoding: EncodingConfig) -> dict[str, Any]:
    """Choices other than the default ones."""
    usual = to_dict(EncodingConfig())
    return {name: value for name, value in to_dict(encoding).items() if value != usual[name]}


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
        return read_json(path)
    if not isinstance(scheduler, Mapping) and not hasattr(scheduler, "config"):
        raise ModelError(f"A {type(scheduler).__name__} is not a scheduler.")
    return scheduler
