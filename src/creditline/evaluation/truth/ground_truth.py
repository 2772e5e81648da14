"""Ground truth: how models trained on subsets of the images judge each query.

It takes days to make and is small, so it is an artifact of its own: a folder of two arrays, two
tables and a manifest, against which any method's scores are judged in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from creditline import fingerprint
from creditline.errors import DataError
from creditline.evaluation.truth.check_ids import check_ids
from creditline.evaluation.truth.files import (
    read_array,
    read_tables,
    write_array,
    write_tables,
)
from creditline.manifest import Manifest, circumstances, claim
from creditline.retraining.arrays import MIN_SUBSETS, loss_array, subset_losses, trainable_masks

if TYPE_CHECKING:
    from creditline.data.image_set import ImageSet


@dataclass(frozen=True)
class GroundTruth:
    """Losses of `m` queries under models trained on `M` subsets of `n` images, `S` seeds each.

    What is not known of images or queries is an empty tuple.

    Attributes:
        masks: bool of shape `(M, n)`; True where a subset holds an image.
        losses: float64 of shape `(M, S, m)`; NaN where not measured yet.
        image_ids, image_names, contributors, labels: of the `n` images.
        query_ids, query_names, query_folders: of the `m` queries; those of one folder are
            consecutive.
        recipe: everything that decided the numbers: subsets, training, images, queries, losses;
            of arrays made elsewhere their hash.

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
                given = len(getattr(self, name))
                if given not in (0, counts[what]):
                    raise DataError(
                        f"The {'masks' if what == 'images' else 'losses'} are of {counts[what]} "
                        f"{what}; {name} has {given} entries. Give those that the arrays were "
                        "made with, in the same order."
                    )

    @classmethod
    def from_arrays(
        cls,
        masks: Any,
        losses: Any,
        images: ImageSet | None = None,
        queries: Sequence[tuple[str, ImageSet]] = (),
    ) -> GroundTruth:
        """A ground truth that was made elsewhere, with enough finished subsets to judge a ranking.

        Args:
            masks: 0 and 1, or bool, of shape `(M, n)`.
            losses: of shape `(M, m)` or `(M, S, m)`.
            images: the `n` images, in the order of the masks' columns.
            queries: folder name and images; all of them together are the `m` queries, in order.

        Raises:
            DataError: if the arrays are of other shapes or types, do not fit each other, the
                images or the queries, have fewer than 8 subsets, or do not tell subsets apart.
        """
        known = {} if images is None else describe_images(images)
        if queries:
            known |= describe_queries(queries)
        made = cls(np.asarray(masks), np.asarray(losses), **known)
        made.check_ranking()
        return made

    @classmethod
    def read(cls, folder: str | Path) -> GroundTruth:
        """Read a ground truth, finished or not.

        Raises:
            CreditlineError: if the folder holds none.
            DataError: if its files are damaged or do not fit together.
        """
        place = Path(folder)
        manifest = Manifest.read(place, "ground-truth")
        masks, losses = (read_array(place / f"{name}.npy") for name in ("masks", "losses"))
        return cls(masks, losses, **read_tables(place), recipe=manifest.request)

    def write(self, folder: str | Path, overwrite: bool = False) -> Path:
        """Write it into a folder, which `read` takes.

        Raises:
            IndexMismatchError: if the folder holds another ground truth.
            CreditlineError: if it holds anything else.
        """
        place = Path(folder)
        facts = {**self.counts(), **circumstances()}
        manifest = Manifest("ground-truth", self.recipe, facts)
        claim(manifest, place, overwrite)
        self.write_files(place)
        if self.finished.all():
            replace(manifest, status="complete").write(place)
        return place

    def write_files(self, folder: Path) -> None:
        """Write arrays and tables, without the manifest."""
        write_tables(folder, self)
        write_array(folder / "masks.npy", self.masks)
        write_array(folder / "losses.npy", self.losses)

    def counts(self) -> dict[str, int]:
        """Number of subsets and seeds, for a manifest's facts."""
        return {"subsets": self.losses.shape[0], "seeds": self.losses.shape[1]}

    def digest(self) -> str:
        """Hash of everything but when and where it was made."""
        lists = [
            *(self.image_ids, self.image_names, self.contributors, self.labels),
            *(self.query_ids, self.query_names, self.query_folders),
        ]
        return fingerprint.of_json([self._arrays(), lists, dict(self.recipe)])

    def _arrays(self) -> str:
        return fingerprint.of_arrays([("masks", self.masks), ("losses", self.losses)])

    @property
    def finished(self) -> np.ndarray:
        """Whether every query's loss is there, bool of shape `(M, S)`."""
        return ~np.isnan(self.losses).any(2)

    def complete_subsets(self) -> GroundTruth:
        """The subsets of which every seed is finished.

        Raises:
            DataError: if there is none.
        """
        rows = np.flatnonzero(self.finished.all(1))
        if not len(rows):
            raise DataError(
                f"None of {len(self.masks)} subsets is finished with all its seeds. Run the "
                "retraining (creditline evaluate retrain) further."
            )
        return replace(self, masks=self.masks[rows], losses=self.losses[rows])

    def of_folder(self, folder: str) -> GroundTruth:
        """The same trainings, judged by the queries of one folder.

        Raises:
            DataError: if there are none of that name.
        """
        columns = [q for q, name in enumerate(self.query_folders) if name == folder]
        if not columns:
            known = ", ".join(dict.fromkeys(self.query_folders)) or "none"
            raise DataError(f"The ground truth has no queries called {folder!r}; it has: {known}.")

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
        """Refuse what no rank correlation over subsets can be taken of.

        Raises:
            DataError: if there are fewer than 8 finished subsets, or a query's loss is the same
                in all of them.
        """
        done = self.losses[self.finished.all(1)]
        if len(done) < MIN_SUBSETS:
            raise DataError(
                f"A rank correlation over subsets needs at least {MIN_SUBSETS} of them; "
                f"{len(done)} of {len(self.losses)} are finished with all seeds. Train more."
            )
        subset_losses(done, query_names=[self.query(q) for q in range(done.shape[2])])

    def query(self, q: int) -> str:
        """Number of query `q`, and its name where it has one, for messages."""
        if not self.query_names:
            return str(q)
        folder = self.query_folders[q] if self.query_folders else ""
        return f"{q} ({folder + '/' if folder else ''}{self.query_names[q]})"

    def check_index(self, ids: Sequence[str]) -> None:
        """Refuse an index of other images, or of the same in another order.

        Args:
            ids: content hash of each indexed image, in the order of the score matrix.

        Raises:
            IndexMismatchError: if they are not the images of the masks' columns.
        """
        check_ids("images", "index", ids, self.image_ids, self.image_names, self.masks.shape[1])

    def check_queries(self, ids: Sequence[str]) -> None:
        """Refuse queries other than those whose losses were measured.

        Args:
            ids: content hash of each query, in order.

        Raises:
            IndexMismatchError: if they are others, or in another order.
        """
        n = self.losses.shape[2]
        check_ids("queries", "list of queries", ids, self.query_ids, self.query_names, n)


def describe_images(images: ImageSet) -> dict[str, Any]:
    """Ids, names, contributors and labels of images, as `GroundTruth` has them."""
    return {
        "image_ids": images.ids,
        "image_names": images.names,
        "contributors": images.contributors,
        "labels": images.labels,
    }


def describe_queries(queries: Sequence[tuple[str, ImageSet]]) -> dict[str, Any]:
    """Ids, names and folders of queries, as `GroundTruth` has them."""
    return {
        "query_ids": tuple(key for _, images in queries for key in images.ids),
        "query_names": tuple(name for _, images in queries for name in images.names),
        "query_folders": tuple(folder for folder, images in queries for _ in images.ids),
    }
