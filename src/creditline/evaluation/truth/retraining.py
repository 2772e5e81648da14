"""Retraining on subsets of the training images, which produces a ground truth.

One task is one model: training on a subset with one seed, then measuring the loss of every query.
A finished task is a file and is never run again. An interrupted training resumes from its last
saved state.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from creditline.bounds import COUNT
from creditline.claim import claim
from creditline.data.image_set import ImageSet
from creditline.data.load import load_images
from creditline.diffusion.config import TrainConfig
from creditline.diffusion.encoding_config import require_folder
from creditline.diffusion.tuning.config import TuneConfig
from creditline.errors import CreditlineError, DamageError, DataError, IndexMismatchError
from creditline.evaluation.truth.files import ADVICE
from creditline.evaluation.truth.ground_truth import GroundTruth, describe_images, describe_queries
from creditline.evaluation.truth.losses import LossPlan
from creditline.evaluation.truth.query_sets import QuerySets, load_query_sets
from creditline.evaluation.truth.recipe import make_recipe
from creditline.evaluation.truth.subset_trainer import SubsetTrainer
from creditline.evaluation.truth.subsets import SubsetSpec, draw_masks
from creditline.evaluation.truth.task import (
    ENCODED,
    MODELS,
    TASKS,
    RetrainingJob,
    Task,
    Trainer,
    parse_task_name,
    run_task,
)
from creditline.explain import explained
from creditline.lock import locked
from creditline.manifest import Manifest, circumstances
from creditline.methods.subset_losses import trainable_masks
from creditline.notice import notice
from creditline.remedy import remedy
from creditline.runtime import DeviceMap, Runtime
from creditline.settings import require, setting, validate_settings
from creditline.stored_arrays import read_array, write_array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from creditline.data.image_source import ImageSource
    from creditline.diffusion.model_source import ModelSource
    from creditline.evaluation.truth.query_sets import NamedQueries

LOSSES = "losses.npy"
MODELS_KEPT = "models_kept"
"""Key of the manifest's facts: whether any call so far was to keep its models."""


@dataclass(frozen=True)
class RetrainingConfig:
    """Settings of a ground truth: subsets, losses and training seeds.

    Raises:
        SettingsError: if there are fewer than 1 seed.
    """

    subsets: SubsetSpec = field(default_factory=SubsetSpec)
    losses: LossPlan = field(default_factory=LossPlan)
    seeds: int = setting(
        2,
        "models per subset; two or more measure how well models agree with each other",
        bounds=COUNT,
    )
    keep_models: bool = setting(False, "keep the trained models")

    def __post_init__(self) -> None:
        validate_settings(self)


@explained
def retrain(
    images: ImageSource,
    queries: NamedQueries,
    out: str | Path,
    *,
    config: TrainConfig | TuneConfig | Trainer,
    base: ModelSource | None = None,
    settings: RetrainingConfig | None = None,
    masks: ArrayLike | None = None,
    runtime: Runtime | None = None,
    encoded: str | Path | None = None,
    limit_tasks: int | None = None,
    overwrite: bool = False,
) -> GroundTruth:
    """Train models on every subset, one for each seed, and measure the loss of every query.

    The call may be interrupted at any moment; the same call continues. The numbers do not depend
    on interruptions or on the number of workers. A call with more random subsets or more seeds
    continues an existing ground truth. `GroundTruth.read(out)` returns what is finished so far.

    Args:
        images: training images; see `load_images`.
        queries: sources of query images by name; see `load_query_sets`.
        out: folder of the ground truth.
        config: training settings of one model, whose steps are those of one subset. Model `s` of
            a subset has seed `config.seed + s`. Checkpoints and samples are not written. Or a
            function of a subset's images, a seed and a folder that returns what `load_model`
            takes; it is identified by its name and source code.
        base: trained model that each training tunes or starts from; None to train from scratch.
        settings: settings of subsets, seeds and losses.
        masks: subsets to use instead of drawn ones, 0 and 1 or bool of shape `(M, n)`.
        runtime: where and how models are trained and losses measured, on one thread each.
        encoded: folder of latents and text embeddings of tunings, which are computed once for all
            of them; by default a folder in `out` that is removed at the end.
        limit_tasks: train at most this number of models now.
        overwrite: replace a ground truth that has another recipe.

    Returns:
        The ground truth, with NaN for models that `limit_tasks` left out.

    Raises:
        DataError: if images, queries and masks do not fit together.
        IndexMismatchError: if `out` contains a ground truth with another recipe, with the queries
            in another order, or a larger one.
        CreditlineError: if `out` contains other files, the disk is full, or training fails.
        SettingsError: if settings contradict each other, there are more loss timesteps than the
            process has, or fewer evaluations than a query has captions.
    """
    settings = settings or RetrainingConfig()
    require(
        limit_tasks is None or limit_tasks >= 1,
        "limit_tasks must be at least 1",
        limit_tasks,
        "Leave it out to train all.",
    )
    require_folder(encoded, None if isinstance(config, TuneConfig) else [])
    runtime = runtime or Runtime()
    image_set, folder = load_images(images, runtime=runtime), Path(out)
    query_sets = load_query_sets(queries, image_set)
    trainer = _make_trainer(config, base, runtime.devices, image_set, query_sets)
    if isinstance(config, TuneConfig) and isinstance(trainer, SubsetTrainer):
        require_folder(encoded, [trainer.base])
    n, spec = len(image_set), settings.subsets if masks is None else None
    members = draw_masks(settings.subsets, image_set) if spec else trainable_masks(masks, n)
    recipe = make_recipe(image_set, query_sets, trainer, spec, members, settings.losses)
    if isinstance(trainer, SubsetTrainer):  # a user's trainer has a process that is not known yet
        from creditline.gradients.caption_turns import require_complete_turns

        plan = settings.losses.noise()
        plan.grid(trainer.n_timesteps, "query", "")
        if trainer.base is not None:
            for _, group in query_sets:
                require_complete_turns(trainer.base, group, plan)

    shape = (len(members), settings.seeds, sum(len(group) for _, group in query_sets))
    facts = {"data_source": image_set.source, "device": runtime.device, **circumstances()}

    def read() -> tuple[Manifest, GroundTruth]:
        manifest = Manifest.read(folder, "ground-truth")
        _require_order(list(manifest.request["queries"]), [name for name, _ in query_sets], folder)
        losses, known = _read_losses(folder, shape), describe_images(image_set)
        known |= describe_queries(query_sets)
        return manifest, GroundTruth(members, losses, **known, recipe=recipe)

    with claim(Manifest("ground-truth", recipe, facts), folder, overwrite) as is_complete:
        if is_complete and (truth := read()[1]).finished.all():
            return truth  # perhaps on a place where nothing can be written
        with locked(folder):
            manifest, truth = read()
            keep_any = settings.keep_models or bool(manifest.facts.get(MODELS_KEPT))
            facts = {**manifest.facts, **truth.counts(), MODELS_KEPT: keep_any}
            manifest = replace(manifest, facts=facts, status="building")
            manifest.write(folder)
            truth.write_files(folder)
            groups = tuple(group for _, group in query_sets)
            if isinstance(trainer, SubsetTrainer):
                cache = folder / ENCODED if encoded is None else Path(encoded)
                trainer.encode((image_set, *groups), cache, runtime)
            job = RetrainingJob(
                *(image_set, groups, members, trainer, settings.losses),
                *(folder, runtime.main_device),
                keep_models=settings.keep_models,
            )
            truth = replace(truth, losses=_train_all(job, truth, runtime, limit_tasks))
            if truth.finished.all():
                _remove_temporary_files(folder, keep_any)
                replace(manifest, status="complete").write(folder)
            return truth


def _train_all(
    job: RetrainingJob, truth: GroundTruth, runtime: Runtime, limit: int | None
) -> np.ndarray:
    """Run the unfinished tasks, subset by subset; returns the losses."""
    losses, finished = truth.losses.copy(), truth.finished
    todo: list[Task] = [(int(j), int(s)) for j, s in np.argwhere(~finished)][:limit]
    done = int(finished.sum())
    try:
        with runtime.progress("retrain", done + len(todo), "model", done=done) as bar:
            for task, values in runtime.map(run_task, job, todo):
                losses[task] = values
                write_array(job.folder / LOSSES, losses)
                bar.advance(1)
    except OSError as error:
        raise CreditlineError(
            f"The retraining stopped: {error}. {int((~np.isnan(losses).any(2)).sum())} of "
            f"{finished.size} models are finished and safe in {job.folder}. {remedy(error)}, then "
            "run the same command again to continue."
        ) from error
    return losses


def _remove_temporary_files(folder: Path, keep_models: bool) -> None:
    """Remove what a finished ground truth does not need; models of an earlier call stay."""
    for path in (folder / TASKS).glob("*.npy"):
        if not keep_models:  # of a process killed between writing losses and removing the model
            shutil.rmtree(folder / MODELS / path.stem, ignore_errors=True)
    shutil.rmtree(folder / TASKS, ignore_errors=True)
    shutil.rmtree(folder / ENCODED, ignore_errors=True)
    with suppress(OSError):  # not empty, or never made
        (folder / MODELS).rmdir()


def _make_trainer(
    config: TrainConfig | TuneConfig | Trainer,
    base: ModelSource | None,
    devices: DeviceMap,
    images: ImageSet,
    queries: QuerySets,
) -> Trainer:
    from creditline.diffusion.denoiser import find_device

    for device in devices.devices:
        find_device(device)
    if not isinstance(config, (TrainConfig, TuneConfig)):
        require(
            base is None,
            "A trainer function chooses its own base",
            base,
            "Leave base out, or give training settings as config.",
        )
        return config
    return SubsetTrainer.create(
        config, base, devices.first, (images, *(group for _, group in queries))
    )


def _require_order(before: list[str], now: list[str], folder: Path) -> None:
    """Check the order of the queries, because losses are stored by position.

    Manifests that differ only in order count as equal.

    Raises:
        IndexMismatchError: if the order differs.
    """
    if before != now:
        raise IndexMismatchError(
            f"{folder} contains losses of the queries in the order {', '.join(before)}; they were "
            f"given in the order {', '.join(now)}. Give them in the first order, or choose another "
            "--out."
        )


def _read_losses(folder: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """Read the losses on disk, float64 of shape `(M, S, m)`, with NaN for missing ones.

    Raises:
        DamageError: if the array on disk is damaged. A task's is computed again, with a warning.
        IndexMismatchError: if there are more subsets or seeds on disk.
    """
    losses = np.full(shape, np.nan)
    if (folder / LOSSES).is_file():
        old = read_array(folder / LOSSES, ADVICE)
        if old.ndim != 3 or old.shape[2] != shape[2] or old.dtype != losses.dtype:
            raise DataError(
                f"{folder / LOSSES} is not the array that was written there. Restore it from a "
                "backup, or choose another --out."
            )
        subsets, seeds, _ = old.shape
        if subsets > shape[0] or seeds > shape[1]:
            raise IndexMismatchError(
                f"{folder} contains {subsets} subsets with {seeds} seeds each, and {shape[0]} with "
                f"{shape[1]} were requested. A ground truth cannot shrink: request at least as "
                "many, or choose another --out."
            )
        losses[:subsets, :seeds] = old
    for path in sorted((folder / TASKS).glob("*.npy")):
        task = parse_task_name(path.stem)
        if task[0] < shape[0] and task[1] < shape[1]:
            try:
                losses[task] = read_array(path, "The model is trained again.")
            except DamageError as error:
                notice(str(error))
    return losses
