"""Training a diffusion model: from fresh weights, from those of another, or tuning one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from creditline.data.image_set import ImageSet
from creditline.data.load import load_images
from creditline.diffusion.config import TrainConfig
from creditline.diffusion.denoiser import Denoiser, check_labels, find_device
from creditline.diffusion.initialization import load_base, starting_network
from creditline.diffusion.load import load_model
from creditline.diffusion.training_run import TrainingRun
from creditline.diffusion.training_state import NAME as STATE
from creditline.diffusion.training_task import PixelTrainingTask
from creditline.diffusion.tuning.check import check_tuning
from creditline.diffusion.tuning.config import TuneConfig
from creditline.diffusion.tuning.files import load_tuned
from creditline.diffusion.tuning.task import TuningTask
from creditline.errors import CreditlineError, ModelError, SettingsError
from creditline.manifest import Manifest, circumstances, claim
from creditline.runtime import Runtime
from creditline.runtime.determinism import exact_kernels
from creditline.settings import to_dict

ENCODED = "encoded"
"""Folder of latents and text embeddings in that of a run."""


def train(
    images: Any,
    out: str | Path,
    config: TrainConfig | TuneConfig | None = None,
    *,
    base: Any = None,
    runtime: Runtime | None = None,
    encoded: str | Path | None = None,
    overwrite: bool = False,
) -> Path:
    """Train a model on images: a `UNet2DModel` of the settings' own, or a base that is tuned.

    Interrupt it at any time; the same call continues and ends with identical weights (on the same
    machine and number of threads).

    Args:
        images: what `load_images` takes.
        out: run folder. Receives `model/` (a diffusers pipeline, or an adapter for PEFT and
            diffusers), `checkpoints/`, `samples/`, `log.jsonl` and `manifest.json`.
        config: settings, such as those of `creditline.diffusion.presets`; a `TuneConfig` tunes
            the base.
        base: a trained model, anything that `load_model` takes. With a `TrainConfig` it is of the
            same network, and its weights are those to start from; with a `TuneConfig` it may be
            any model, which itself is left as it is.
        runtime: device, CPU threads and progress of the training.
        encoded: folder of latents and text embeddings of a tuning, which other tunings of the
            same base may share; in the run folder by default.
        overwrite: replace a run with other settings.

    Returns:
        The run folder, which `load_model` takes.

    Raises:
        ModelError: if the images or the base do not fit the network, or there is no such device.
        DataError: if captions are missing or too long.
        SettingsError: if settings do not fit the base.
        NumericsError: if the loss is not finite; the last good state is kept.
        CreditlineError: if `out` is taken, or the disk is full.
    """
    config, pictures, folder = config or TrainConfig(), load_images(images), Path(out)
    runtime = runtime or Runtime()
    place = find_device(runtime.main_device)
    start = check_start(pictures, config, base, place)
    request = {
        "config": to_dict(config),
        "images": {"fingerprint": pictures.fingerprint, "n": len(pictures)},
    }
    facts = {"data_source": pictures.source, **circumstances()}
    if start is not None:  # runs from fresh weights have no such entry
        request["base"] = {"fingerprint": start.fingerprint}
        facts["base_source"] = start.source
        if start.options:
            facts["base_options"] = dict(start.options)
    manifest = Manifest("run", request, facts)
    if not claim(manifest, folder, overwrite):
        try:
            with (
                runtime.use_threads(),
                exact_kernels(place, getattr(config, "precision", "fp32") == "tf32"),
                torch.random.fork_rng([place] if place.type == "cuda" else []),
            ):
                if isinstance(config, TuneConfig):
                    tuned = TuningTask(start, pictures, config, place)
                    tuned.encode(folder / ENCODED if encoded is None else Path(encoded), runtime)
                    TrainingRun(tuned, folder, config.of(len(pictures)), runtime).finish()
                else:
                    network = starting_network(config, start).to(place)
                    task = PixelTrainingTask(network, pictures, config.flip)
                    TrainingRun(task, folder, config, runtime).finish()
            replace(manifest, status="complete").write(folder)
        except (OSError, SafetensorError) as error:
            raise CreditlineError(
                f"Writing the run stopped: {error}. The last saved state is safe in {folder}; make "
                "room and run the same command again to continue."
            ) from error
    # Only now: without it, a run that is not marked complete would start from the beginning.
    (folder / STATE).unlink(missing_ok=True)
    return folder


def trained(
    run: Path, config: TrainConfig | TuneConfig, base: Any, device: str | torch.device
) -> Denoiser:
    """The model of a finished run, without loading the base that it tuned again.

    Args:
        run: folder that `train` wrote.
        config: its settings.
        base: the denoiser that it started from, or None.
        device: where to put it.

    Raises:
        ModelError: if the base is another.
    """
    if isinstance(config, TrainConfig):
        return load_model(run, device=device)
    model = load_tuned(run / "model", base).to(device)
    model.source = str(run)
    return model


def check_start(
    images: ImageSet, config: TrainConfig | TuneConfig, base: Any, device: str | torch.device
) -> Denoiser | None:
    """The base that a training starts from, None for fresh weights, if everything fits.

    Args:
        images: to train on, or pictures like them.
        config: settings of the training.
        base: what `load_model` takes, or None.
        device: where to train.

    Raises:
        ModelError: if the images or the base do not fit the network or the settings.
        DataError: if captions are missing or too long.
        SettingsError: if there is nothing to tune, or settings do not fit it.
    """
    if isinstance(config, TrainConfig):
        check_images(images, config)
        return None if base is None else load_base(base, config)
    if base is None:
        raise SettingsError(
            "An adapter is trained on a model, and so is whatever is tuned; there is none. Give "
            "one: base= (--base)."
        )
    start = load_model(base)
    check_tuning(start, images, config, find_device(device))
    return start


def check_images(images: ImageSet, config: TrainConfig) -> None:
    """Refuse images that do not fit the network that the settings train.

    Raises:
        ModelError: if their size is another, or the network's classes are not theirs.
    """
    size, (height, width) = config.unet.resolution, images.shape[1:]
    if (height, width) != (size, size):
        raise ModelError(
            f"The settings train a network for pictures of {size}x{size} pixels; the images have "
            f"{width}x{height}. Load them with size={size} (--size {size}), or choose settings "
            "with the images' resolution."
        )
    if config.unet.classes:
        check_labels(images.labels, config.unet.classes)
