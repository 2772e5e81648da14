"""Images of a recipe: the paper's training images, validation queries and subsets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from creditline.data.image_set import ImageSet
from creditline.data.image_spec import ImageSpec
from creditline.data.load import load_images
from creditline.data.metadata_spec import MetadataSpec
from creditline.errors import DataError
from creditline_research.paper.recipe import Recipe
from creditline_research.paper.splits import PaperSplit, validation

CELEBA_FILES = 202_599


@dataclass(frozen=True)
class RecipeImages:
    """Training images, queries and subsets of a recipe.

    Attributes:
        train: n training images, in the order of the data.
        validation: validation queries, in the same order.
        masks: subsets of the ground truth, bool of shape `(M, n)`.
    """

    train: ImageSet
    validation: ImageSet
    masks: np.ndarray


def load(recipe: Recipe, data: str) -> RecipeImages:
    """Load the images of a recipe.

    Args:
        recipe: the recipe, at its scale.
        data: folder or zip file as described by `recipe.data`.

    Raises:
        DataError: if it holds other data.
    """
    if not recipe.classes:
        return _from_files(recipe, Path(data))
    train, test = (
        load_images(
            f"{data}/{part}",
            ImageSpec(size=recipe.resolution, crop="none"),
            metadata=MetadataSpec(labels="folder", prompt_template=recipe.prompt),
        )
        for part in ("train", "test")
    )
    return select_images(recipe, train, test)


def select_images(recipe: Recipe, train: ImageSet, test: ImageSet) -> RecipeImages:
    """Select the images of a recipe with classes from both parts of the data set.

    Args:
        recipe: the recipe.
        train: all training images, in the order of the data.
        test: all test images.

    Raises:
        DataError: if they are not the recipe's.
    """
    pool, test_pool = (
        _pool(recipe, part, size) for part, size in ((train, recipe.pool), (test, recipe.test_pool))
    )
    split = PaperSplit.of(
        len(pool), recipe.train_images, [train.labels[i] or 0 for i in pool], recipe.alpha
    )
    rows = validation(len(test_pool), recipe.validation, [test.labels[i] or 0 for i in test_pool])
    return RecipeImages(
        train.subset(pool[split.images]),
        test.subset(test_pool[np.sort(rows)]),
        split.masks("lds-val", recipe.subsets),
    )


def _pool(recipe: Recipe, images: ImageSet, size: int) -> np.ndarray:
    """Find the positions of the images of the recipe's classes."""
    names = images.label_names or ()
    missing = sorted(set(recipe.classes) - set(names))
    if missing:
        raise DataError(
            f"{recipe.title} has the classes {', '.join(recipe.classes)}; {images.source} has "
            f"{', '.join(names) or 'no named classes'}. Give {recipe.data}."
        )
    classes = {names.index(name) for name in recipe.classes}
    pool = np.array([i for i, label in enumerate(images.labels) if label in classes])
    _require_size(recipe, len(pool), size, images.source)
    return pool


def _from_files(recipe: Recipe, folder: Path) -> RecipeImages:
    """Read CelebA: files of the training part, then of validation; only selected files open."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder. Give {recipe.data}.")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".png"))
    _require_size(recipe, len(files), CELEBA_FILES, str(folder))
    split = PaperSplit.of(recipe.pool, recipe.train_images, alpha=recipe.alpha)
    rows = recipe.pool + np.sort(validation(recipe.test_pool, recipe.validation))
    return RecipeImages(
        _prepared(recipe, [files[i] for i in split.images]),
        _prepared(recipe, [files[i] for i in rows]),
        split.masks("lds-val", recipe.subsets),
    )


def _prepared(recipe: Recipe, files: Sequence[Path]) -> ImageSet:
    return load_images(
        list(files), ImageSpec(size=recipe.resolution, center_crop=recipe.center_crop)
    )


def _require_size(recipe: Recipe, count: int, size: int, source: str) -> None:
    if count != size:
        raise DataError(
            f"{recipe.title} draws from {size:,} images; {source} has {count:,}. Give "
            f"{recipe.data}."
        )
