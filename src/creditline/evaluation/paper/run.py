"""Running a recipe: images, model, queries and ground truth in one folder, resumable throughout."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from creditline.data.image_set import ImageSet
from creditline.data.load import load_images
from creditline.diffusion.config import GenerateConfig
from creditline.diffusion.sample import generate
from creditline.diffusion.train import train
from creditline.errors import IndexMismatchError
from creditline.evaluation.paper.images import RecipeImages
from creditline.evaluation.paper.recipe import Recipe
from creditline.evaluation.paper.splits import counterfactual_queries
from creditline.evaluation.truth.fleet import Fleet, retrain
from creditline.evaluation.truth.ground_truth import GroundTruth
from creditline.evaluation.truth.losses import LossPlan
from creditline.files import ASIDE, write_file

SEED = 42
"""Of the model that is explained; those of the ground truth have 0, 1, 2."""


@dataclass(frozen=True)
class RecipeFolders:
    """Where a recipe's results are, below one folder.

    Attributes:
        images: training images, as every further command takes them.
        model: run folder of the model trained on all of them.
        validation, generated: queries.
        targets: text file that lists the generated pictures of the counterfactual.
        ground_truth: losses of all queries under the models of all subsets.
    """

    images: Path
    model: Path
    validation: Path
    generated: Path
    targets: Path
    ground_truth: Path

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
        )


def run(
    recipe: Recipe,
    images: RecipeImages,
    out: str | Path,
    *,
    workers: int = 1,
    device: str = "cpu",
    threads: int | None = None,
) -> GroundTruth:
    """Train the model, draw the queries, and make the ground truth.

    Interrupt it at any time; the same call continues.

    Args:
        recipe: which, and how much of it.
        images: its images.
        out: folder of everything; see `RecipeFolders`.
        workers: processes of the ground truth.
        device: where models are trained.
        threads: CPU threads of the first training.

    Raises:
        SettingsError: if the recipe's network cannot be trained here.
        IndexMismatchError: if `out` holds other images, models or queries.
    """
    recipe.require_trainable()
    folders = RecipeFolders.of(out)
    train_images = _kept(images.train, folders.images)
    validation = _kept(images.validation, folders.validation)
    train(train_images, folders.model, recipe.config(seed=SEED), device=device, threads=threads)
    sampling = GenerateConfig(steps=recipe.sampling_steps, seed=0)
    generate(folders.model, recipe.generated, folders.generated, sampling, device=device)
    if recipe.targets:
        _list_targets(recipe, folders)
    return retrain(
        train_images,
        {"validation": validation, "generated": folders.generated},
        folders.ground_truth,
        config=recipe.config(recipe.subset_images),
        settings=Fleet(
            losses=LossPlan(recipe.loss_timesteps, recipe.loss_draws), seeds=recipe.seeds
        ),
        masks=images.masks,
        workers=workers,
        device=device,
    )


def _list_targets(recipe: Recipe, folders: RecipeFolders) -> None:
    drawn = counterfactual_queries(recipe.generated, recipe.targets, recipe.targets_state)
    place = folders.generated.name
    text = "".join(f"{place}/{i:05d}.png\n" for i in drawn)
    write_file(folders.targets, lambda path: path.write_text(text, "utf-8"), overwrite=True)


def _kept(images: ImageSet, folder: Path) -> ImageSet:
    """Write pictures to a folder, whole or not at all, and read them as later commands will."""
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=ASIDE, dir=folder.parent) as aside:
            os.replace(images.save(Path(aside) / folder.name), folder)
    stored = load_images(folder)
    if stored.ids != images.ids:
        raise IndexMismatchError(
            f"{folder} holds {len(stored):,} pictures that are not the {len(images):,} of this "
            "recipe and scale. Use another --out."
        )
    return stored
