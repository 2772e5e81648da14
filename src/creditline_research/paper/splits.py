"""The D-TRAK paper's splits: training images, queries and subsets.

The authors drew every split with scikit-learn's `train_test_split` (notebooks `00_EDA` and
`get_indices_gen` of their repository); the calls here are theirs, so the positions are too. A
position counts the images of a pool: those of the recipe's classes, in the order of the data.

A stratified draw depends on the labels only through their counts: it selects "the 744th horse"
before it looks up that horse's position. So the same *images* are selected from data in any order
that keeps the order within each class, such as one folder per class. CIFAR-10 is ordered as Hugging
Face's `cifar10` has it (batches 4, 3, 2, 5, 1); in the order of the original archive the same calls
select other images. ArtBench's images are taken in the order of their file names within a class,
which has not been compared with the authors' order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import train_test_split

from creditline.errors import SettingsError, unknown
from creditline.settings import require

SEED = 42
FAMILIES = {"lds-val": (0, 256), "lds-test": (256, 256), "retrain": (512, 1024)}
"""Families of subsets: how many came before, how many there are. Random states go up by two a
subset in a run that counts through all families: those of `lds-val` from its 128th subset on are
those of `lds-test` from its first, and so on, so the families are not independent as a whole."""


def draw(
    pool: int, size: int | float, state: int, labels: Sequence[int] | np.ndarray | None = None
) -> np.ndarray:
    """Draw a random part of a pool; positions in the order of the draw.

    Args:
        pool: number of images in the pool.
        size: number to draw, or share of the pool. A pool that is not larger is taken as it is,
            as in the authors' code.
        state: scikit-learn's random state.
        labels: class of each image, for a draw that keeps the classes' shares.

    Returns:
        int64 of shape `(size,)`.

    Raises:
        SettingsError: if the sizes are impossible.
    """
    require(pool >= 1, "A pool has at least 1 image", pool, "Give the recipe its data.")
    require(size > 0, "The size of a draw must be positive", size, "Draw 1 image or more.")
    positions = np.arange(pool)
    if isinstance(size, int) and size >= pool:
        return positions
    classes = None if labels is None else np.asarray(labels)
    try:
        rows, _ = train_test_split(positions, train_size=size, random_state=state, stratify=classes)
    except ValueError as error:
        raise SettingsError(
            f"{size} of {pool} images cannot be drawn: {error} Use a larger scale."
        ) from error
    return np.asarray(rows, dtype=np.int64)


@dataclass(frozen=True)
class PaperSplit:
    """Training images of a recipe and their subsets.

    Attributes:
        order: positions in the pool of the n training images, in the order they were drawn.
        labels: class of each, in that order; None where draws are not stratified.
        alpha: share of them in a subset.
    """

    order: np.ndarray
    labels: np.ndarray | None
    alpha: float = 0.5

    @classmethod
    def of(
        cls, pool: int, size: int, labels: Sequence[int] | None = None, alpha: float = 0.5
    ) -> PaperSplit:
        """Split a pool of training images, stratified if their classes are given."""
        order = draw(pool, size, SEED, labels)
        classes = None if labels is None else np.asarray(labels)[order]
        return cls(order, classes, alpha)

    @property
    def images(self) -> np.ndarray:
        """Positions in the pool of the training images, ascending: the columns of `masks`."""
        return np.sort(self.order)

    def subset(self, family: str, k: int) -> np.ndarray:
        """Positions in the pool of the images of a subset, in the order of the draw.

        Args:
            family: `"lds-val"`, whose first 64 are the ground truth of all published LDS;
                `"lds-test"`; or `"retrain"`, whose first 512 feed the datamodels.
            k: number of the subset, from 0.
        """
        if family not in FAMILIES:
            raise unknown("family of subsets", family, FAMILIES)
        before, count = FAMILIES[family]
        require(0 <= k < count, f"{family} has subsets 0 to {count - 1}", k, "Ask for one of them.")
        state = SEED + 2 * k + before
        return self.order[draw(len(self.order), self.alpha, state, self.labels)]

    def masks(self, family: str, count: int) -> np.ndarray:
        """The first subsets of a family over `images`, bool of shape `(count, n)`."""
        columns = self.images
        rows = [np.isin(columns, self.subset(family, k)) for k in range(count)]
        return np.stack(rows)


def validation(pool: int, size: int, labels: Sequence[int] | None = None) -> np.ndarray:
    """Draw the validation queries from the pool of test images."""
    return draw(pool, size, SEED, labels)


def counterfactual_queries(generated: int, size: int, state: int) -> np.ndarray:
    """Draw the generated images of the paper's counterfactual."""
    if size >= generated:
        return np.arange(generated)
    _, rows = train_test_split(np.arange(generated), test_size=size, random_state=state)
    return np.asarray(rows, dtype=np.int64)
