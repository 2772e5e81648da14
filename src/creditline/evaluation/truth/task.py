"""One task of the fleet: train a model on a subset, measure the loss of every query."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from creditline.data.image_set import ImageSet
from creditline.errors import CreditlineError
from creditline.evaluation.truth.files import write_array
from creditline.evaluation.truth.losses import LossPlan, query_losses
from creditline.runtime.threads import single_thread

Task = tuple[int, int]
"""Subset and seed."""

Trainer = Callable[[ImageSet, int, Path], Any]
"""From the images of a subset, a seed and a folder to anything that `load_model` takes. The folder
may hold what an interrupted call of the same task left."""

TASKS, MODELS, ENCODED = "tasks", "models", "encoded"


@dataclass(frozen=True)
class Job:
    """What all tasks share.

    Attributes:
        images: training images, all of them.
        queries: whose losses are measured.
        masks: bool of shape `(M, n)`.
        trainer: makes a model.
        plan: of the losses.
        folder: of the ground truth.
        device: where losses are measured.
        keep_models: whether to leave the trained models there.
    """

    images: ImageSet
    queries: tuple[ImageSet, ...]
    masks: np.ndarray
    trainer: Trainer
    plan: LossPlan
    folder: Path
    device: str
    keep_models: bool


def name_of(task: Task) -> str:
    """`"00012-1"` for subset 12, seed 1."""
    return f"{task[0]:05d}-{task[1]}"


def task_of(name: str) -> Task:
    """The task that `name_of` named."""
    subset, seed = name.split("-")
    return int(subset), int(seed)


def run_task(job: Job, task: Task) -> np.ndarray:
    """Train one model and store the losses under it, float64 of shape `(m,)`.

    Raises:
        CreditlineError: whatever training and measuring raise, with the task's name.
    """
    from creditline.diffusion.load import load_model

    subset, seed = task
    folder = job.folder / MODELS / name_of(task)
    images = job.images.subset(np.flatnonzero(job.masks[subset]))
    try:
        with single_thread(), _quiet():
            model = load_model(job.trainer(images, seed, folder), device=job.device)
            losses = np.concatenate([query_losses(model, q, job.plan) for q in job.queries])
    except CreditlineError as error:
        raise type(error)(f"Subset {subset}, seed {seed}: {error}") from error
    write_array(job.folder / TASKS / f"{name_of(task)}.npy", losses)
    if not job.keep_models:
        shutil.rmtree(folder, ignore_errors=True)
    return losses


@contextmanager
def _quiet() -> Iterator[None]:
    """Without a bar for every training beside the one over all of them."""
    before = os.environ.get("CREDITLINE_PROGRESS")
    os.environ["CREDITLINE_PROGRESS"] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ["CREDITLINE_PROGRESS"]
        else:
            os.environ["CREDITLINE_PROGRESS"] = before
