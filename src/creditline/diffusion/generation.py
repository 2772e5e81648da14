"""Generating pictures into a folder, with a record of how each of them was made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from creditline.diffusion.config import GenerateConfig
from creditline.diffusion.ddim import SEEDS, sample
from creditline.diffusion.denoiser import Denoiser
from creditline.diffusion.guidance import GuidedDenoiser
from creditline.diffusion.load import load_model
from creditline.errors import CreditlineError, DataError
from creditline.files import write_file
from creditline.manifest import NAME, Manifest, circumstances, claim
from creditline.runtime import Runtime
from creditline.runtime.determinism import exact_kernels
from creditline.settings import require, to_dict

TRAJECTORIES = "trajectories"


@dataclass(frozen=True)
class GenerationRecord:
    """What a folder of generated pictures remembers.

    Attributes:
        files: facts of each picture (seed, class label, prompt) by file name.
        common: facts shared by all: steps, eta, guidance, sampler, model fingerprint.
        trajectory: whether sampling trajectories were kept.
    """

    files: Mapping[str, Mapping[str, Any]]
    common: Mapping[str, Any]
    trajectory: bool

    def details(self, name: str) -> dict[str, Any]:
        """Everything known of one picture."""
        return {**self.files[name], **self.common}


def generate(
    model: Any,
    n: int,
    out: str | Path,
    config: GenerateConfig | None = None,
    *,
    labels: Sequence[int] | None = None,
    prompts: str | Sequence[str] | None = None,
    batch_size: int = 64,
    device: str | torch.device = "cpu",
    overwrite: bool = False,
) -> Path:
    """Generate `n` pictures as PNG files.

    Interrupt it at any time; the same call continues.

    Args:
        model: what `load_model` takes.
        n: how many.
        out: folder to write.
        config: sampler settings.
        labels: classes for a class-conditional model, repeated to `n`; all classes in turn by
            default.
        prompts: for a model that reads them, one or several, repeated to `n`.
        batch_size: pictures at a time; changes a picture by float rounding at most.
        device: where to load a model given as a path.
        overwrite: replace pictures made with other settings.

    Returns:
        The folder; `load_images` and `Index.trace` take it.

    Raises:
        CreditlineError: if `out` is taken or the disk is full.
        SettingsError: if labels, prompts or guidance do not fit the model.
        DataError: if a prompt is too long.
    """
    require(n >= 1, "n must be at least 1", n, "Ask for one picture or more.")
    require(batch_size >= 1, "batch_size must be at least 1", batch_size, "Try 64.")
    config, denoiser, folder = (
        config or GenerateConfig(),
        load_model(model, device=device),
        Path(out),
    )
    chosen = _labels(denoiser, labels, n)
    texts = _prompts(denoiser, prompts, n)
    last = config.seed + n - 1
    require(last < SEEDS, f"Seeds run from 0 to {SEEDS - 1}", last, "Use a smaller seed.")
    steps = denoiser.process.n_timesteps
    require(config.steps <= steps, f"The model has {steps} timesteps", config.steps, "Use fewer.")
    first = (chosen or texts or [None])[:1]
    guidance = GuidedDenoiser(denoiser, first, config.guidance, config.negative_prompt).guidance
    request = {
        # Only what says something: records of models that cannot be guided say nothing of it.
        "config": {key: value for key, value in to_dict(config).items() if value is not None},
        "n": n,
        "labels": chosen,
        "model": denoiser.fingerprint,
        "sampler": "Euler" if denoiser.process.prediction == "flow" else "DDIM",
        **({} if texts is None else {"prompts": texts}),
        **({} if guidance == 1 else {"guidance": guidance}),
    }
    manifest = Manifest("pictures", request, {"model_source": denoiser.source, **circumstances()})
    if claim(manifest, folder, overwrite):
        return folder
    try:
        left = [i for i in range(n) if not (folder / _name(i)).is_file()]
        bar = Runtime().progress("generate", n, "picture", done=n - len(left))
        with exact_kernels(denoiser.device), bar:
            for start in range(0, len(left), batch_size):
                rows = left[start : start + batch_size]
                _write(denoiser, config, rows, chosen, texts, folder)
                bar.advance(len(rows))
        replace(manifest, status="complete").write(folder)
    except (OSError, SafetensorError) as error:
        raise CreditlineError(
            f"Writing pictures stopped: {error}. What is in {folder} is good; make room and run "
            "the same command again to continue."
        ) from error
    return folder


def read_record(folder: str | Path) -> GenerationRecord | None:
    """The record of a folder that `generate` wrote, or None for any other folder.

    Raises:
        CreditlineError: if the record is damaged: without it a picture's seed and trajectory would
            be ignored in silence.
    """
    folder = Path(folder)
    if not _generated(folder):
        return None
    request = Manifest.read(folder, "pictures").request
    config, labels, prompts = request["config"], request["labels"], request.get("prompts")
    files = {
        _name(i): {
            "seed": config["seed"] + i,
            **({} if labels is None else {"label": labels[i]}),
            **({} if prompts is None else {"prompt": prompts[i]}),
        }
        for i in range(request["n"])
    }
    common = {
        "sampler": request["sampler"],
        "steps": config["steps"],
        "eta": config["eta"],
        **{key: request[key] for key in ("guidance",) if key in request},
        **{key: config[key] for key in ("negative_prompt",) if key in config},
        "model": request["model"],
    }
    return GenerationRecord(files, common, config["trajectory"])


def trajectory(folder: str | Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Sampling trajectory of one picture.

    Returns:
        Timesteps, int64 of shape `(s,)`, and predicted x0, float32 of shape `(s, C, H, W)`.

    Raises:
        DataError: if it was not kept.
    """
    path = Path(folder) / TRAJECTORIES / f"{Path(name).stem}.safetensors"
    if not path.is_file():
        raise DataError(
            f"The sampling trajectory of {name} is missing ({path}). Generate with --trajectory."
        )
    stored = load_file(path)
    return stored["timesteps"], stored["x0"]


def _generated(folder: Path) -> bool:
    """Whether a folder has a record of pictures, readable or not; other tools' do not count."""
    try:
        values = json.loads((folder / NAME).read_text("utf-8"))
    except FileNotFoundError:
        return False
    except (json.JSONDecodeError, UnicodeDecodeError):
        return True
    return isinstance(values, dict) and "schema" in values and values.get("kind") == "pictures"


def _name(i: int) -> str:
    return f"{i:05d}.png"


def _labels(denoiser: Denoiser, labels: Sequence[int] | None, n: int) -> list[int] | None:
    classes = denoiser.n_classes
    if classes is None:
        require(labels is None, "The model is unconditional", labels, "Leave the labels out.")
        return None
    listed = list(range(classes)) if labels is None else list(labels)
    require(
        len(listed) > 0 and all(0 <= x < classes for x in listed),
        f"Labels of this model run from 0 to {classes - 1}",
        labels,
        "Choose among them.",
    )
    return [listed[i % len(listed)] for i in range(n)]


def _prompts(denoiser: Denoiser, prompts: str | Sequence[str] | None, n: int) -> list[str] | None:
    if not denoiser.takes_prompts:
        require(prompts is None, "The model reads no prompts", prompts, "Leave them out.")
        return None
    listed = [prompts] if isinstance(prompts, str) else list(prompts or ())
    require(len(listed) > 0, "The model reads prompts", prompts, "Give one (prompts=, --prompt).")
    denoiser.check_prompts(listed)  # type: ignore[attr-defined]  # every one that reads has it
    return [listed[i % len(listed)] for i in range(n)]


def _write(
    denoiser: Denoiser,
    config: GenerateConfig,
    rows: Sequence[int],
    labels: Sequence[int] | None,
    prompts: Sequence[str] | None,
    folder: Path,
) -> None:
    seeds = [config.seed + i for i in rows]
    chosen = None if labels is None else [labels[i] for i in rows]
    pictures, (timesteps, x0) = sample(
        denoiser,
        seeds,
        steps=config.steps,
        eta=config.eta,
        labels=chosen,
        prompts=None if prompts is None else [prompts[i] for i in rows],
        negative=config.negative_prompt,
        guidance=config.guidance,
    )
    for i, pixels, run in zip(rows, pictures, x0, strict=True):
        if config.trajectory:
            path = folder / TRAJECTORIES / f"{i:05d}.safetensors"
            arrays = {"timesteps": timesteps, "x0": np.ascontiguousarray(run)}
            write_file(path, lambda p, a=arrays: save_file(a, p), overwrite=True)  # type: ignore[misc]
        # The picture last: where it is, everything of it is.
        image = Image.fromarray(pixels)
        write_file(folder / _name(i), lambda p, im=image: im.save(p), overwrite=True)  # type: ignore[misc]
