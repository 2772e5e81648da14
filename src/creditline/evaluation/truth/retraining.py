"""The fleet: models retrained on subsets of the images, which make the ground truth.

One task is one model: training on a subset with one seed, then the loss of every query. A finished
task is a file and is never run again; a training that was cut short goes on from its last state.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from creditline.data.image_set import ImageSet
from creditline.data.load import load_images
from creditline.diffusion.config import TrainConfig
from creditline.diffusion.tuning.config import TuneConfig
from creditline.errors import CreditlineError, DataError, IndexMismatchError
from creditline.evaluation.truth.files import read_array, write_array
from creditline.evaluation.truth.ground_truth import GroundTruth, describe_images, describe_queries
from creditline.evaluation.truth.losses import LossPlan
from creditline.evaluation.truth.query_sets import Named, query_sets
from creditline.evaluation.truth.recipe import make_recipe
from creditline.evaluation.truth.subset_trainer import SubsetTrainer
from creditline.evaluation.truth.subsets import SubsetSpec, draw
from creditline.evaluation.truth.task import (
    ENCODED,
    MODELS,
    TASKS,
    Job,
    Task,
    Trainer,
    run_task,
    task_of,
)
from creditline.manifest import Manifest, circumstances, claim
from creditline.retraining.arrays import trainable_masks
from creditline.runtime import Runtime
from creditline.settings import require, setting

LOSSES = "losses.npy"
KEPT = "models_kept"
"""Among the facts: whether a call so far asked to keep its models."""


@dataclass(frozen=True)
class RetrainingConfig:
    """Settings of a ground truth.

    Raises:
        SettingsError: on fewer than 1 seed.
    """

    subsets: SubsetSpec = field(default_factory=SubsetSpec)
    losses: LossPlan = field(default_factory=LossPlan)
    seeds: int = setting(2, "models per subset; two tell how far models agree with each other")
    keep_models: bool = setting(False, "keep the trained models")

    def __post_init__(self) -> None:
        require(self.seeds >= 1, "seeds must be at least 1", self.seeds, "Try 2.")


def retrain(
    images: Any,
    queries: Mapping[str, Any] | Iterable[tuple[str, Any]],
    out: str | Path,
    *,
    config: TrainConfig | TuneConfig | Trainer,
    base: Any = None,
    settings: RetrainingConfig | None = None,
    masks: Any = None,
    workers: int = 1,
    device: str = "cpu",
    encoded: str | Path | None = None,
    limit_tasks: int | None = None,
    overwrite: bool = False,
) -> GroundTruth:
    """Train a model on every subset, `seeds` times, and measure the loss of every query.

    Stop it at any moment, by any means; the same call continues, and the numbers are the same
    however often it was stopped and however many workers there were. A call that asks for more
    random subsets or more seeds continues as well, with what is there. `GroundTruth.read(out)`
    gives what is finished so far.

    Args:
        images: training images, what `load_images` takes.
        queries: sources of pictures by name; see `query_sets`.
        out: folder of the ground truth.
        config: how each model is trained, with seed `config.seed + s`; checkpoints and samples
            are not made. Its steps are those of one subset. Or a trainer of your own: a function
            of a subset's images, a seed and a folder that returns anything `load_model` takes. It
            is recognized by its name and source.
        base: a trained model that each training starts from instead of fresh weights, or tunes.
        settings: subsets, seeds and losses.
        masks: 0 and 1, or bool, of shape `(M, n)`: subsets to use instead of drawn ones.
        workers: processes, of one thread each.
        device: where models are trained and losses measured.
        encoded: folder of latents and text embeddings of tunings, which are computed once for all
            of them; in `out` until all are finished by default.
        limit_tasks: train at most so many models now.
        overwrite: replace a ground truth made from something else.

    Returns:
        The ground truth, with NaN where a limit left models out.

    Raises:
        DataError: if images, queries and masks do not fit together.
        IndexMismatchError: if `out` holds a ground truth made from something else, of the queries
            in another order, or a larger one.
        CreditlineError: if `out` is taken or the disk is full; what training raises.
        SettingsError: if settings contradict each other, or losses are to be measured at more
            timesteps than the process has.
    """
    settings = settings or RetrainingConfig()
    require(
        limit_tasks is None or limit_tasks >= 1,
        "limit_tasks must be at least 1",
        limit_tasks,
        "Leave it out to train all.",
    )
    require(workers >= 1, "The number of workers must be at least 1", workers, "Use 1 or more.")
    pictures, folder = load_images(images), Path(out)
    named = query_sets(queries, pictures)
    trainer = _trainer(config, base, device, pictures, named)
    n, spec = len(pictures), settings.subsets if masks is None else None
    chosen = draw(settings.subsets, pictures) if masks is None else trainable_masks(masks, n)
    recipe = make_recipe(pictures, named, trainer, spec, chosen, settings.losses)
    if isinstance(trainer, SubsetTrainer):  # the process of another's models is not known yet
        settings.losses.noise().grid(trainer.n_timesteps, "query", "")

    shape = (len(chosen), settings.seeds, sum(len(group) for _, group in named))
    facts = {"data_source": pictures.source, "device": device, **circumstances()}
    claim(Manifest("ground-truth", recipe, facts), folder, overwrite)
    manifest = Manifest.read(folder, "ground-truth")
    _require_order(list(manifest.request["queries"]), [name for name, _ in named], folder)
    losses = _known(folder, shape)
    truth = GroundTruth(
        chosen, losses, **describe_images(pictures), **describe_queries(named), recipe=recipe
    )
    if manifest.status == "complete" and truth.finished.all():
        return truth
    keep = settings.keep_models
    kept = keep or bool(manifest.facts.get(KEPT))
    manifest = replace(
        manifest, facts={**manifest.facts, **truth.counts(), KEPT: kept}, status="building"
    )
    manifest.write(folder)
    truth.write_files(folder)
    groups = tuple(group for _, group in named)
    if isinstance(trainer, SubsetTrainer):
        trainer.encode((pictures, *groups), folder / ENCODED if encoded is None else Path(encoded))
    job = Job(pictures, groups, chosen, trainer, settings.losses, folder, device, keep)
    truth = replace(truth, losses=_train_all(job, truth, workers, limit_tasks))
    if truth.finished.all():
        _tidy(folder, kept)
        replace(manifest, status="complete").write(folder)
    return truth


def _train_all(job: Job, truth: GroundTruth, workers: int, limit: int | None) -> np.ndarray:
    """Run what is not finished, subset by subset; returns the losses."""
    losses, finished = truth.losses.copy(), truth.finished
    todo: list[Task] = [(int(j), int(s)) for j, s in np.argwhere(~finished)][:limit]
    done = int(finished.sum())
    try:
        with Runtime().progress("retrain", done + len(todo), "model", done=done) as bar:
            for task, values in Runtime(workers=workers).map(run_task, job, todo):
                losses[task] = values
                write_array(job.folder / LOSSES, losses)
                bar.advance(1)
    except OSError as error:
        raise CreditlineError(
            f"The retraining stopped: {error}. {int((~np.isnan(losses).any(2)).sum())} of "
            f"{finished.size} models are finished and safe in {job.folder}; make room and run the "
            "same command again to continue."
        ) from error
    return losses


def _tidy(folder: Path, kept: bool) -> None:
    """Remove what a finished ground truth does not need; models kept by an earlier call stay."""
    for path in (folder / TASKS).glob("*.npy"):
        if not kept:  # of a process killed between writing losses and removing the model
            shutil.rmtree(folder / MODELS / path.stem, ignore_errors=True)
    shutil.rmtree(folder / TASKS, ignore_errors=True)
    shutil.rmtree(folder / ENCODED, ignore_errors=True)
    with suppress(OSError):  # not empty, or never made
        (folder / MODELS).rmdir()


def _trainer(
    config: TrainConfig | TuneConfig | Trainer,
    base: Any,
    device: str,
    images: ImageSet,
    queries: Named,
) -> Trainer:
    from creditline.diffusion.denoiser import find_device

    find_device(device)
    if not isinstance(config, (TrainConfig, TuneConfig)):
        require(
            base is None,
            "A trainer of your own starts from what it likes",
            base,
            "Leave base out, or train by settings.",
        )
        return config
    return SubsetTrainer.of(config, base, device, (images, *(group for _, group in queries)))


def _require_order(before: list[str], now: list[str], folder: Path) -> None:
    """Refuse queries in another order: losses are stored by position, and manifests that differ in
    order only count as equal.

    Raises:
        IndexMismatchError: naming both orders.
    """
    if before != now:
        raise IndexMismatchError(
            f"{folder} holds losses of the queries in the order {', '.join(before)}; they were "
            f"given in the order {', '.join(now)}. Give them in the first order, or name another "
            "--out."
        )


def _known(folder: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """Losses that are on disk, NaN elsewhere, float64 of shape `(M, S, m)`.

    Raises:
        IndexMismatchError: if there are more subsets or seeds on disk.
    """
    losses = np.full(shape, np.nan)
    if (folder / LOSSES).is_file():
        old = read_array(folder / LOSSES)
        if old.ndim != 3 or old.shape[2] != shape[2] or old.dtype != losses.dtype:
            raise DataError(
                f"{folder / LOSSES} is not the array that was written there. Restore it from a "
                "backup, or name another --out."
            )
        subsets, seeds, _ = old.shape
        if subsets > shape[0] or seeds > shape[1]:
            raise IndexMismatchError(
                f"{folder} holds {subsets} subsets with {seeds} seeds each, and {shape[0]} with "
                f"{shape[1]} were asked for. A ground truth grows but does not shrink: ask for as "
                "many, or name another --out."
            )
        losses[:subsets, :seeds] = old
    for path in sorted((folder / TASKS).glob("*.npy")):
        task = task_of(path.stem)
        if task[0] < shape[0] and task[1] < shape[1]:
            losses[task] = read_array(path)
    return losses
