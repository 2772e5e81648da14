"""Generating images into a folder, with a record of how each was generated."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from creditline.claim import claim
from creditline.data.png import is_intact_png
from creditline.diffusion.config import GenerateConfig
from creditline.diffusion.denoiser import Denoiser
from creditline.diffusion.guidance import GuidedDenoiser
from creditline.diffusion.load import load_model
from creditline.diffusion.model_source import ModelSource
from creditline.diffusion.sampling import SEEDS, sample
from creditline.errors import CreditlineError, DataError
from creditline.explain import explained
from creditline.files import write_file
from creditline.manifest import NAME, Kind, Manifest, circumstances
from creditline.notice import notice
from creditline.remedy import remedy
from creditline.runtime import Runtime
from creditline.runtime.determinism import exact_kernels
from creditline.runtime.threads import single_thread
from creditline.settings import require, to_dict
from creditline.stored_arrays import read_tensors, write_tensors
from creditline.stored_json import CHECKSUM, is_intact

KIND: Kind = "images"
TRAJECTORIES = "trajectories"
BATCH_ON_CPU, BATCH_ELSEWHERE = 8, 64
"""Images of one batch: small ones on a CPU, where workers share the batches out."""


@dataclass(frozen=True)
class GenerationRecord:
    """The record of a folder of generated images.

    Attributes:
        n: number of images.
        seed: of the first image; those of the others follow.
        lists: class label or prompt of each image, where they have some.
        common: facts of all images: steps, eta, guidance, sampler, model fingerprint.
        trajectory: whether sampling trajectories were kept.
    """

    n: int
    seed: int
    lists: Mapping[str, Sequence[Any]]
    common: Mapping[str, Any]
    trajectory: bool

    def __contains__(self, name: str) -> bool:
        """Whether a file has the name of a recorded image."""
        return self._number(name) is not None

    def details(self, name: str) -> dict[str, Any]:
        """Return all facts of one image.

        Raises:
            KeyError: if there is no such image.
        """
        number = self._number(name)
        if number is None:
            raise KeyError(name)
        own = {key: values[number] for key, values in self.lists.items()}
        return {"seed": self.seed + number, **own, **self.common}

    def _number(self, name: str) -> int | None:
        stem = name.removesuffix(".png")
        is_number = stem.isascii() and stem.isdecimal() and len(stem) < 20
        number = int(stem) if is_number else self.n
        return number if number < self.n and _name(number) == name else None


@explained
def generate(
    model: ModelSource,
    n: int,
    out: str | Path,
    config: GenerateConfig | None = None,
    *,
    labels: Sequence[int] | None = None,
    prompts: str | Sequence[str] | None = None,
    batch_size: int | None = None,
    runtime: Runtime | None = None,
    overwrite: bool = False,
) -> Path:
    """Generate `n` images as PNG files.

    After an interruption, the same call continues.

    Args:
        model: a model, as in `load_model`.
        n: number of images.
        out: folder to write.
        config: sampler settings.
        labels: classes for a class-conditional model, repeated to `n`; by default all classes in
            turn.
        prompts: one or several prompts for a text-conditional model, repeated to `n`.
        batch_size: images per pass of one worker; changes an image by float rounding at most. By
            default 8, and 64 on a GPU.
        runtime: workers, devices and progress. Images do not depend on the number of workers.
        overwrite: replace images of other settings.

    Returns:
        The folder, for `load_images` and `Index.trace`.

    Raises:
        CreditlineError: if `out` exists with other contents, or the disk is full.
        SettingsError: if labels, prompts or guidance do not fit the model.
        DataError: if a prompt is too long.
    """
    require(n >= 1, "n must be at least 1", n, "Ask for one image or more.")
    config, runtime, folder = config or GenerateConfig(), runtime or Runtime(), Path(out)
    denoiser = load_model(model, device=runtime.main_device)
    if batch_size is None:
        batch_size = BATCH_ON_CPU if denoiser.device.type == "cpu" else BATCH_ELSEWHERE
    require(batch_size >= 1, "batch_size must be at least 1", batch_size, "Try 64.")
    classes = _repeat_labels(denoiser, labels, n)
    texts = _repeat_prompts(denoiser, prompts, n)
    last = config.seed + n - 1
    require(last < SEEDS, f"Seeds run from 0 to {SEEDS - 1}", last, "Use a smaller seed.")
    steps = denoiser.process.n_timesteps
    require(config.steps <= steps, f"The model has {steps} timesteps", config.steps, "Use fewer.")
    first = (classes or texts or [None])[:1]
    guidance = GuidedDenoiser(denoiser, first, config.guidance, config.negative_prompt).guidance
    request = {
        # Without empty settings: records of models without guidance do not mention it.
        "config": {key: value for key, value in to_dict(config).items() if value is not None},
        "n": n,
        "labels": classes,
        "model": denoiser.fingerprint,
        "sampler": denoiser.sampler.name,
        **({} if texts is None else {"prompts": texts}),
        **({} if guidance == 1 else {"guidance": guidance}),
    }
    manifest = Manifest(KIND, request, {"model_source": denoiser.source, **circumstances()})
    with claim(manifest, folder, overwrite) as is_complete:
        if is_complete:
            return folder
        job = GenerationJob(denoiser, config, classes, texts, folder)
        # A partial batch is repeated: float rounding makes images depend on their batch.
        batches = [range(i, min(i + batch_size, n)) for i in range(0, n, batch_size)]
        try:
            todo = [rows for rows in batches if not _are_written(folder, rows)]
            done = n - sum(map(len, todo))
            with runtime.progress("generate", n, "image", done=done) as bar:
                for rows, _ in runtime.map(_generate_batch, job, todo):
                    bar.advance(len(rows))
            replace(manifest, status="complete").write(folder)
        except (OSError, SafetensorError) as error:
            raise CreditlineError(
                f"Writing images stopped: {error}. Those in {folder} are complete. "
                f"{remedy(error)} and run the same command again to continue."
            ) from error
    return folder


def read_record(folder: str | Path) -> GenerationRecord | None:
    """Read the record of a folder that `generate` wrote; None for any other folder.

    Raises:
        CreditlineError: if the record is damaged. Otherwise an image's seed and trajectory would
            be ignored silently.
    """
    folder = Path(folder)
    if not _has_record(folder):
        return None
    request = Manifest.read(folder, KIND).request
    config, n = request["config"], request["n"]
    lists = {"label": request["labels"], "prompt": request.get("prompts")}
    listed = {name: values for name, values in lists.items() if values is not None}
    for name, values in listed.items():
        if len(values) != n:
            raise CreditlineError(
                f"{folder / NAME} records {n:,} images and {len(values):,} {name}s. Restore it "
                "from a backup, or generate the images again."
            )
    common = {
        "sampler": request["sampler"],
        "steps": config["steps"],
        "eta": config["eta"],
        **{key: request[key] for key in ("guidance",) if key in request},
        **{key: config[key] for key in ("negative_prompt",) if key in config},
        "model": request["model"],
    }
    return GenerationRecord(n, config["seed"], listed, common, config["trajectory"])


def read_trajectory(folder: str | Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Read the sampling trajectory of one image.

    Returns:
        Timesteps, int64 of shape `(s,)`, and estimates of the clean sample, float32 of shape
        `(s, *sample_shape)`.

    Raises:
        DataError: if it was not kept.
        DamageError: if the file is damaged.
    """
    path = Path(folder) / TRAJECTORIES / f"{Path(name).stem}.safetensors"
    if not path.is_file():
        raise DataError(
            f"The sampling trajectory of {name} is missing ({path}). Generate with --trajectory."
        )
    stored = read_tensors(path, load_file, "Generate the images again with --trajectory.")
    return stored["timesteps"], stored["x0"]


def _has_record(folder: Path) -> bool:
    """Whether a folder has a record of generated images, readable or damaged."""
    try:
        values = json.loads((folder / NAME).read_text("utf-8"))
    except FileNotFoundError:
        return False
    except (ValueError, RecursionError):
        return True
    if not isinstance(values, dict):
        return False
    is_damaged = CHECKSUM in values and not is_intact(values)
    return is_damaged or ("schema" in values and values.get("kind") == KIND)


def _are_written(folder: Path, rows: range) -> bool:
    """Whether images are on disk; damaged ones are generated again, with a notice."""
    paths = [folder / _name(i) for i in rows]
    intact = [is_intact_png(path) for path in paths]
    for path, is_whole in zip(paths, intact, strict=True):
        if path.is_file() and not is_whole:
            notice(f"{path} is damaged. It is generated again.")
    return all(intact)


def _name(i: int) -> str:
    return f"{i:05d}.png"


def _repeat_labels(denoiser: Denoiser, labels: Sequence[int] | None, n: int) -> list[int] | None:
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


def _repeat_prompts(
    denoiser: Denoiser, prompts: str | Sequence[str] | None, n: int
) -> list[str] | None:
    if not denoiser.takes_prompts:
        require(prompts is None, "The model takes no prompts", prompts, "Leave them out.")
        return None
    listed = [prompts] if isinstance(prompts, str) else list(prompts or ())
    require(len(listed) > 0, "The model needs prompts", prompts, "Give one (prompts=, --prompt).")
    denoiser.check_prompts(listed)
    return [listed[i % len(listed)] for i in range(n)]


@dataclass(frozen=True)
class GenerationJob:
    """What all batches of images share.

    Attributes:
        denoiser: the model.
        config: sampler settings.
        labels: class of every image, or None.
        prompts: prompt of every image, or None.
        folder: where images are written.
    """

    denoiser: Denoiser
    config: GenerateConfig
    labels: Sequence[int] | None
    prompts: Sequence[str] | None
    folder: Path

    def to_device(self, device: str) -> GenerationJob:
        """Return the job with the model on a device."""
        return replace(self, denoiser=self.denoiser.to(device))


def _generate_batch(job: GenerationJob, rows: range) -> None:
    config, folder = job.config, job.folder
    with single_thread(), exact_kernels(job.denoiser.device):
        images, (timesteps, x0) = sample(
            job.denoiser,
            [config.seed + i for i in rows],
            steps=config.steps,
            eta=config.eta,
            labels=None if job.labels is None else [job.labels[i] for i in rows],
            prompts=None if job.prompts is None else [job.prompts[i] for i in rows],
            negative_prompt=config.negative_prompt,
            guidance=config.guidance,
        )
    for i, pixels, estimates in zip(rows, images, x0, strict=True):
        if config.trajectory:
            path = folder / TRAJECTORIES / f"{i:05d}.safetensors"
            arrays = {"timesteps": timesteps, "x0": np.ascontiguousarray(estimates)}
            write_tensors(path, arrays, save_file)
        # The image last: if it exists, its trajectory exists.
        image = Image.fromarray(pixels)
        write_file(folder / _name(i), lambda p, im=image: im.save(p), overwrite=True)  # type: ignore[misc]
