"""One retraining task: train a model on a subset and measure the loss of every query."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from creditline.data.image_set import ImageSet
from creditline.errors import CreditlineError
from creditline.evaluation.truth.losses import LossPlan, measure_losses
from creditline.runtime.devices import place
from creditline.runtime.threads import single_thread
from creditline.stored_arrays import write_array

Task = tuple[int, int]
"""Subset and seed."""

Trainer = Callable[[ImageSet, int, Path], Any]
"""Function of a subset's images, a seed and a folder that returns what `load_model` takes.

The folder may contain files of an interrupted call of the same task."""

TASKS, MODELS, ENCODED = "tasks", "models", "encoded"


@dataclass(frozen=True)
class RetrainingJob:
    """Inputs that all tasks share.

    Attributes:
        images: all training images.
        queries: sets of query images.
        masks: bool of shape `(M, n)`.
        trainer: function that trains a model.
        plan: settings of the losses.
        folder: folder of the ground truth.
        device: device on which losses are measured.
        keep_models: whether to keep the trained models.
    """

    images: ImageSet
    queries: tuple[ImageSet, ...]
    masks: np.ndarray
    trainer: Trainer
    plan: LossPlan
    folder: Path
    device: str
    keep_models: bool

    def to_device(self, device: str) -> RetrainingJob:
        """Return the job with another device."""
        return replace(self, device=device, trainer=place(self.trainer, device))


def name_task(task: Task) -> str:
    """Name a task: `"00012-1"` for subset 12, seed 1."""
    return f"{task[0]:05d}-{task[1]}"


def parse_task_name(name: str) -> Task:
    """Return the task that `name_task` named."""
    subset, seed = name.split("-")
    return int(subset), int(seed)


def run_task(job: RetrainingJob, task: Task) -> np.ndarray:
    """Train one model, then measure and store the query losses, float64 of shape `(m,)`.

    Raises:
        CreditlineError: if training or measuring fails; the message names the task.
    """
    from creditline.diffusion.load import load_model

    subset, seed = task
    folder = job.folder / MODELS / name_task(task)
    images = job.images.subset(np.flatnonzero(job.masks[subset]))
    try:
        with single_thread():
            model = load_model(job.trainer(images, seed, folder), device=job.device)
            losses = np.concatenate([measure_losses(model, q, job.plan) for q in job.queries])
    except CreditlineError as error:
        raise type(error)(f"Subset {subset}, seed {seed}: {error}") from error
    write_array(job.folder / TASKS / f"{name_task(task)}.npy", losses)
    if not job.keep_models:
        shutil.rmtree(folder, ignore_errors=True)
    return losses
