"""Ground truth: losses of queries under models trained on subsets of the training images.

A ground truth takes days of training and is small. It is stored as a folder of two arrays, two
tables and a manifest. The scores of any method are evaluated against it in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from creditline import fingerprint
from creditline.claim import claim
from creditline.errors import DataError
from creditline.evaluation.truth.check_ids import check_ids
from creditline.evaluation.truth.files import (
    ADVICE,
    read_tables,
    write_images,
    write_queries,
    write_record,
)
from creditline.lock import locked
from creditline.manifest import Manifest, circumstances
from creditline.methods.subset_losses import MIN_SUBSETS, loss_array, subset_losses, trainable_masks
from creditline.stored_arrays import read_array, write_array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from creditline.data.image_set import ImageSet


@dataclass(frozen=True)
class GroundTruth:
    """Losses of `m` queries under models trained on `M` subsets of `n` images, `S` seeds each.

    Unknown properties of images or queries are empty tuples.

    Attributes:
        masks: bool of shape `(M, n)`; True where a subset contains an image.
        losses: float64 of shape `(M, S, m)`; NaN where not measured yet.
        image_ids, image_names, contributors, labels: one entry for each of the `n` images.
        query_ids, query_names, query_folders: one entry for each of the `m` queries; queries of
            one folder are consecutive.
        recipe: everything that determines the numbers: subsets, training, images, queries and
            losses; for arrays from elsewhere, their hash.

    Raises:
        DataError: if arrays or lists do not fit together.
    """

    masks: np.ndarray
    losses: np.ndarray
    image_ids: tuple[str, ...] = ()
    image_names: tuple[str, ...] = ()
    contributors: tuple[str | None, ...] = ()
    labels: tuple[int | None, ...] = ()
    query_ids: tuple[str, ...] = ()
    query_names: tuple[str, ...] = ()
    query_folders: tuple[str, ...] = ()
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "masks", trainable_masks(self.masks))
        object.__setattr__(self, "losses", loss_array(self.losses, len(self.masks)))
        if not self.recipe:
            object.__setattr__(self, "recipe", {"arrays": self._arrays()})
        counts = {"images": self.masks.shape[1], "queries": self.losses.shape[2]}
        for what, names in (
            ("images", ("image_ids", "image_names", "contributors", "labels")),
            ("queries", ("query_ids", "query_names", "query_folders")),
        ):
            for name in names:
                entries = len(getattr(self, name))
                if entries not in (0, counts[what]):
                    raise DataError(
                        f"The {'masks' if what == 'images' else 'losses'} have {counts[what]} "
                        f"{what}; {name} has {entries} entries. Give the entries of the arrays, "
                        "in the same order."
                    )

    @classmethod
    def from_arrays(
        cls,
        masks: ArrayLike,
        losses: ArrayLike,
        images: ImageSet | None = None,
        queries: Sequence[tuple[str, ImageSet]] = (),
    ) -> GroundTruth:
        """Create a ground truth from arrays that were computed elsewhere.

        Args:
            masks: 0 and 1, or bool, of shape `(M, n)`.
            losses: of shape `(M, m)` or `(M, S, m)`.
            images: the `n` training images, in the order of the columns of the masks.
            queries: pairs of folder name and images; together they are the `m` queries, in order.

        Raises:
            DataError: if arrays, images and queries do not fit together, there are fewer than 8
                finished subsets, or the loss of a query is the same for all subsets.
        """
        properties = {} if images is None else describe_images(images)
        if queries:
            properties |= describe_queries(queries)
        truth = cls(np.asarray(masks), np.asarray(losses), **properties)
        truth.check_ranking()
        return truth

    @classmethod
    def read(cls, folder: str | Path) -> GroundTruth:
        """Read a ground truth, which may be unfinished.

        Raises:
            CreditlineError: if the folder contains none.
            DamageError: if a file is missing or damaged.
            DataError: if the files do not fit together.
        """
        place = Path(folder)
        manifest = Manifest.read(place, "ground-truth")
        masks, losses = (read_array(place / f"{name}.npy", ADVICE) for name in ("masks", "losses"))
        return cls(masks, losses, **read_tables(place), recipe=manifest.request)

    def write(self, folder: str | Path, overwrite: bool = False) -> Path:
        """Write the ground truth to a folder.

        Raises:
            IndexMismatchError: if the folder contains another ground truth.
            CreditlineError: if the folder contains anything else.
        """
        place = Path(folder)
        facts = {**self.counts(), **circumstances()}
        manifest = Manifest("ground-truth", self.recipe, facts)
        with claim(manifest, place, overwrite), locked(place):
            self.write_files(place)
            if self.finished.all():
                replace(manifest, status="complete").write(place)
        return place

    def write_files(self, folder: Path) -> None:
        """Write arrays and tables, without the manifest."""
        images = (self.image_ids, self.image_names, self.contributors, self.labels)
        write_images(folder / "images.csv", images, self.masks.shape[1])
        queries = (self.query_folders, self.query_ids, self.query_names)
        write_queries(folder / "queries.csv", queries, self.losses.shape[2])
        write_record(folder)
        write_array(folder / "masks.npy", self.masks)
        write_array(folder / "losses.npy", self.losses)

    def counts(self) -> dict[str, int]:
        """Return the numbers of subsets and seeds, for the facts of a manifest."""
        return {"subsets": self.losses.shape[0], "seeds": self.losses.shape[1]}

    def digest(self) -> str:
        """Return a hash of everything but the time and place of creation."""
        lists = [
            *(self.image_ids, self.image_names, self.contributors, self.labels),
            *(self.query_ids, self.query_names, self.query_folders),
        ]
        return fingerprint.of_json([self._arrays(), lists, dict(self.recipe)])

    def _arrays(self) -> str:
        return fingerprint.of_arrays([("masks", self.masks), ("losses", self.losses)])

    @property
    def finished(self) -> np.ndarray:
        """Whether the losses of all queries are measured, bool of shape `(M, S)`."""
        return ~np.isnan(self.losses).any(2)

    def complete_subsets(self) -> GroundTruth:
        """Select the subsets of which every seed is finished.

        Raises:
            DataError: if there is no such subset.
        """
        rows = np.flatnonzero(self.finished.all(1))
        if not len(rows):
            raise DataError(
                f"None of {len(self.masks)} subsets is finished with all seeds. Continue the "
                "retraining (creditline evaluate retrain)."
            )
        return replace(self, masks=self.masks[rows], losses=self.losses[rows])

    def of_folder(self, folder: str) -> GroundTruth:
        """Select the queries of one folder.

        Raises:
            DataError: if there is no such folder.
        """
        columns = [q for q, name in enumerate(self.query_folders) if name == folder]
        if not columns:
            names = ", ".join(dict.fromkeys(self.query_folders)) or "none"
            raise DataError(f"The ground truth has no queries called {folder!r}; it has: {names}.")

        def pick(values: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(values[q] for q in columns)

        return replace(
            self,
            losses=self.losses[:, :, columns],
            query_ids=pick(self.query_ids),
            query_names=pick(self.query_names),
            query_folders=pick(self.query_folders),
            recipe={**self.recipe, "part": folder},
        )

    def check_ranking(self) -> None:
        """Check that a rank correlation over subsets can be computed.

        Raises:
            DataError: if there are fewer than 8 finished subsets, or the loss of a query is the
                same for all of them.
        """
        losses = self.losses[self.finished.all(1)]
        if len(losses) < MIN_SUBSETS:
            raise DataError(
                f"A rank correlation over subsets needs at least {MIN_SUBSETS} of them; "
                f"{len(losses)} of {len(self.losses)} are finished with all seeds. Train more."
            )
        subset_losses(losses, query_names=[self.query_label(q) for q in range(losses.shape[2])])

    def query_label(self, q: int) -> str:
        """Return the number of query `q`, with its name where known, for messages."""
        if not self.query_names:
            return str(q)
        folder = self.query_folders[q] if self.query_folders else ""
        return f"{q} ({folder + '/' if folder else ''}{self.query_names[q]})"

    def check_index(self, ids: Sequence[str]) -> None:
        """Check that an index has the images of the ground truth, in the same order.

        Args:
            ids: content hash of each indexed image, in the order of the score matrix.

        Raises:
            IndexMismatchError: if they are not the images of the columns of the masks.
        """
        check_ids("images", "index", ids, self.image_ids, self.image_names, self.masks.shape[1])

    def check_queries(self, ids: Sequence[str]) -> None:
        """Check that queries are those whose losses were measured, in the same order.

        Args:
            ids: content hash of each query, in order.

        Raises:
            IndexMismatchError: if they differ.
        """
        n = self.losses.shape[2]
        check_ids("queries", "list of queries", ids, self.query_ids, self.query_names, n)


def describe_images(images: ImageSet) -> dict[str, Any]:
    """Return ids, names, contributors and labels of images as fields of `GroundTruth`."""
    return {
        "image_ids": images.ids,
        "image_names": images.names,
        "contributors": images.contributors,
        "labels": images.labels,
    }


def describe_queries(queries: Sequence[tuple[str, ImageSet]]) -> dict[str, Any]:
    """Return ids, names and folders of queries as fields of `GroundTruth`."""
    return {
        "query_ids": tuple(key for _, images in queries for key in images.ids),
        "query_names": tuple(name for _, images in queries for name in images.names),
        "query_folders": tuple(folder for folder, images in queries for _ in images.ids),
    }
