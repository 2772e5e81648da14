"""Training a diffusion model: from scratch, from a trained model's weights, or by tuning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from creditline.claim import claim
from creditline.data.image_set import ImageSet
from creditline.data.image_source import ImageSource
from creditline.data.load import load_images
from creditline.diffusion.config import TrainConfig
from creditline.diffusion.denoiser import Denoiser, check_labels, find_device
from creditline.diffusion.encoding_config import require_folder
from creditline.diffusion.inference_mode import require_gradients
from creditline.diffusion.initialization import initial_network, load_base
from creditline.diffusion.load import load_model
from creditline.diffusion.model_source import ModelSource
from creditline.diffusion.training_run import TrainingRun
from creditline.diffusion.training_state import NAME as STATE
from creditline.diffusion.training_task import PixelTrainingTask
from creditline.diffusion.tuning.check import check_tuning
from creditline.diffusion.tuning.config import TuneConfig
from creditline.diffusion.tuning.files import load_tuned
from creditline.diffusion.tuning.task import TuningTask
from creditline.errors import CreditlineError, ModelError, SettingsError
from creditline.explain import explained
from creditline.manifest import Manifest, circumstances
from creditline.remedy import remedy
from creditline.runtime import Runtime
from creditline.runtime.determinism import exact_kernels
from creditline.settings import to_dict

ENCODED = "encoded"
"""Name of a run's folder of latents and text embeddings."""


@explained
def train(
    images: ImageSource,
    out: str | Path,
    config: TrainConfig | TuneConfig | None = None,
    *,
    base: ModelSource | None = None,
    runtime: Runtime | None = None,
    encoded: str | Path | None = None,
    overwrite: bool = False,
) -> Path:
    """Train a model on images: a `UNet2DModel` of the settings, or by tuning a base.

    After an interruption, the same call continues and ends with identical weights (on the same
    machine and number of threads).

    Args:
        images: images, as in `load_images`.
        out: run folder. Receives `model/` (a diffusers pipeline, or an adapter for PEFT and
            diffusers), `checkpoints/`, `samples/`, `log.jsonl` and `manifest.json`.
        config: settings, such as a preset; a `TuneConfig` tunes the base.
        base: a trained model, as in `load_model`. With a `TrainConfig` it has the same network
            and its weights are the initial ones. With a `TuneConfig` it can be any model; it is not
            changed.
        runtime: device, CPU threads and progress of the training.
        encoded: folder of a tuning's latents and text embeddings, which tunings of the same base
            can share; by default in the run folder.
        overwrite: replace a run with other settings.

    Returns:
        The run folder, for `load_model`.

    Raises:
        ModelError: if the images or the base do not fit the network, or there is no such device.
        DataError: if captions are missing or too long.
        SettingsError: if settings do not fit the base.
        NumericsError: if the loss is not finite; the last state is kept.
        CreditlineError: if `out` exists with other contents, or the disk is full.
    """
    config, runtime, folder = config or TrainConfig(), runtime or Runtime(), Path(out)
    require_gradients()
    require_folder(encoded, [] if isinstance(config, TrainConfig) else None)
    training_images = load_images(images, runtime=runtime)
    place = find_device(runtime.main_device)
    start = check_training(training_images, config, base, place)
    if isinstance(config, TuneConfig):
        require_folder(encoded, [start])
    request = {
        "config": to_dict(config),
        "images": {"fingerprint": training_images.fingerprint, "n": len(training_images)},
    }
    facts = {"data_source": training_images.source, **circumstances()}
    if start is not None:  # runs from scratch have no such entry
        request["base"] = {"fingerprint": start.fingerprint}
        facts["base_source"] = start.source
        if start.options:
            facts["base_options"] = dict(start.options)
    manifest = Manifest("run", request, facts)
    # Its state is removed last: without it, a run that is not complete would start again.
    with claim(manifest, folder, overwrite, temporary=[STATE]) as is_complete:
        if is_complete:
            return folder
        try:
            with (
                runtime.use_threads(),
                exact_kernels(place, getattr(config, "precision", "fp32") == "tf32"),
                torch.random.fork_rng([place] if place.type == "cuda" else []),
            ):
                if isinstance(config, TuneConfig):
                    task = TuningTask(start, training_images, config, place)
                    task.encode(folder / ENCODED if encoded is None else Path(encoded), runtime)
                    TrainingRun(
                        task, folder, config.with_steps(len(training_images)), runtime
                    ).finish()
                else:
                    network = initial_network(config, start).to(place)
                    pixel_task = PixelTrainingTask(network, training_images, config.flip)
                    TrainingRun(pixel_task, folder, config, runtime).finish()
            replace(manifest, status="complete").write(folder)
        except (OSError, SafetensorError) as error:
            raise CreditlineError(
                f"Writing the run stopped: {error}. The last saved state is in {folder}. "
                f"{remedy(error)} and run the same command again to continue."
            ) from error
        (folder / STATE).unlink(missing_ok=True)
    return folder


def load_trained(
    run: Path, config: TrainConfig | TuneConfig, base: Any, device: str | torch.device
) -> Denoiser:
    """Load the model of a finished run, without loading its base again.

    Args:
        run: folder that `train` wrote.
        config: settings of the run.
        base: the denoiser that it started from, or None.
        device: device of the network.

    Raises:
        ModelError: if the base is a different model.
    """
    if isinstance(config, TrainConfig):
        return load_model(run, device=device)
    model = load_tuned(run / "model", base).to(device)
    model.source = str(run)
    return model


def check_training(
    images: ImageSet, config: TrainConfig | TuneConfig, base: Any, device: str | torch.device
) -> Denoiser | None:
    """Refuse a training whose settings, images and base do not match; return its base.

    Args:
        images: training images, or others of the same kind.
        config: settings of the training.
        base: a model, as in `load_model`, or None.
        device: where to train.

    Returns:
        The base; None for training from scratch.

    Raises:
        ModelError: if the images or the base do not fit the network or the settings.
        DataError: if captions are missing or too long.
        SettingsError: if there is no base to tune, or settings do not fit it.
    """
    if isinstance(config, TrainConfig):
        check_images(images, config)
        return None if base is None else load_base(base, config)
    if base is None:
        raise SettingsError(
            "Tuning needs a base model, and none was given. Give one: base= (--base)."
        )
    start = load_model(base)
    check_tuning(start, images, config, find_device(device))
    return start


def check_images(images: ImageSet, config: TrainConfig) -> None:
    """Refuse images that do not fit the network of the settings.

    Raises:
        ModelError: if their size differs, or a class label is missing or unknown.
    """
    check_shape(images.shape, config)
    if config.unet.classes:
        check_labels(images.labels, config.unet.classes)


def check_shape(shape: Sequence[int], config: TrainConfig) -> None:
    """Refuse images of a shape `(C, H, W)` that the network of the settings does not take.

    Raises:
        ModelError: if their size differs.
    """
    size, (height, width) = config.unet.resolution, shape[1:]
    if (height, width) != (size, size):
        raise ModelError(
            f"The settings train a network for images of {size}x{size} pixels; the images have "
            f"{width}x{height}. Load them with size={size} (--size {size}), or choose settings "
            "with the images' resolution."
        )
