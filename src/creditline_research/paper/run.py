"""Run a recipe: images, model, queries and ground truth in one folder, resumable throughout."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from creditline.data.image_set import ImageSet
from creditline.data.load import load_images
from creditline.diffusion.config import GenerateConfig
from creditline.diffusion.generation import generate
from creditline.diffusion.load import load_model
from creditline.diffusion.train import check_training, load_trained, train
from creditline.errors import IndexMismatchError
from creditline.evaluation.truth.ground_truth import GroundTruth
from creditline.evaluation.truth.losses import LossPlan
from creditline.evaluation.truth.retraining import RetrainingConfig, retrain
from creditline.files import write_file
from creditline.owner import aside_prefix
from creditline.runtime import Runtime
from creditline_research.paper.images import RecipeImages
from creditline_research.paper.recipe import Recipe
from creditline_research.paper.splits import counterfactual_queries

SEED = 42
"""Seed of the attributed model; retrained models have 0, 1 and 2."""


@dataclass(frozen=True)
class RecipeFolders:
    """Paths of a recipe's results below one folder.

    Attributes:
        images: training images, in the form that other commands take.
        model: run folder of the model trained on all of them.
        validation, generated: queries.
        targets: text file that lists the generated images of the counterfactual.
        ground_truth: losses of all queries under all retrained models.
        encoded: latents and text embeddings while a recipe of tuning runs.
    """

    images: Path
    model: Path
    validation: Path
    generated: Path
    targets: Path
    ground_truth: Path
    encoded: Path

    @classmethod
    def of(cls, out: str | Path) -> RecipeFolders:
        root = Path(out)
        queries = root / "queries"
        return cls(
            root / "images",
            root / "model",
            queries / "validation",
            queries / "generated",
            queries / "targets.txt",
            root / "ground-truth",
            root / "encoded",
        )


GENERATED_AT_ONCE = 64
"""Images of one batch, on which they depend by float rounding."""


def run(
    recipe: Recipe,
    images: RecipeImages,
    out: str | Path,
    *,
    base: Any = None,
    runtime: Runtime | None = None,
) -> GroundTruth:
    """Train the model, generate the queries, and make the ground truth.

    Interrupt it at any time; the same call continues.

    Args:
        recipe: the recipe, at its scale.
        images: its images.
        out: folder of all results; see `RecipeFolders`.
        base: the model that a recipe of tuning tunes, what `load_model` takes.
        runtime: where and how models are trained; its threads are those of the first training.

    Raises:
        SettingsError: if a base is missing or not needed, or settings do not fit it.
        ModelError: if the base cannot be tuned by the recipe.
        IndexMismatchError: if `out` holds other images, models or queries.
    """
    runtime = runtime or Runtime()
    start = None if base is None else load_model(base)
    recipe.check_base(start)
    config = recipe.config(seed=SEED)
    for part in (images.train, images.validation):
        check_training(part, config, start, runtime.main_device)
    folders = RecipeFolders.of(out)
    train_images = _store_images(images.train, folders.images)
    validation = _store_images(images.validation, folders.validation)
    # Only tunings of models that encode something have anything to keep there.
    encoded = folders.encoded if start is not None and start.encoders() else None
    train(
        train_images,
        folders.model,
        config,
        base=start,
        runtime=runtime,
        encoded=encoded,
    )
    sampling = GenerateConfig(steps=recipe.sampling_steps, seed=0, guidance=recipe.guidance)
    generate(
        load_trained(folders.model, config, start, runtime.main_device),
        recipe.generated,
        folders.generated,
        sampling,
        prompts=recipe.prompts,
        batch_size=GENERATED_AT_ONCE,
        runtime=runtime,
    )
    if recipe.targets:
        _list_targets(recipe, folders)
    queries: dict[str, ImageSet | Path] = {
        "validation": validation,
        "generated": folders.generated,
    }
    truth = retrain(
        train_images,
        queries,
        folders.ground_truth,
        config=recipe.config(recipe.subset_images),
        base=start,
        settings=RetrainingConfig(
            losses=LossPlan(recipe.loss_timesteps, recipe.loss_draws), seeds=recipe.seeds
        ),
        masks=images.masks,
        runtime=runtime,
        encoded=encoded,
    )
    shutil.rmtree(folders.encoded, ignore_errors=True)
    return truth


def _list_targets(recipe: Recipe, folders: RecipeFolders) -> None:
    rows = counterfactual_queries(recipe.generated, recipe.targets, recipe.targets_state)
    place = folders.generated.name
    text = "".join(f"{place}/{i:05d}.png\n" for i in rows)
    write_file(folders.targets, lambda path: path.write_text(text, "utf-8"), overwrite=True)


def _store_images(images: ImageSet, folder: Path) -> ImageSet:
    """Write images to a folder, completely or not at all, and read them as later commands do."""
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=aside_prefix(), dir=folder.parent) as aside:
            os.replace(images.save(Path(aside) / folder.name), folder)
    stored = load_images(folder)
    if stored.ids != images.ids:
        raise IndexMismatchError(
            f"{folder} holds {len(stored):,} images that are not the {len(images):,} of this "
            "recipe and scale. Use another --out."
        )
    return stored
