"""Losses of retrained models and the subsets that they were trained on, checked.

masks   (M, n)      training image i is in subset j
losses  (M, S, m)   loss of query q under the model trained on subset j with seed s
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np

from creditline import fingerprint
from creditline.errors import DataError

ROUNDING = 64 * float(np.finfo(np.float64).eps)
"""Share of a loss by which means of equal numbers may differ."""
MIN_SUBSETS = 8
"""Fewest subsets whose ranks are evidence: seven in the right order happen by chance."""


class GroundTruthArrays(Protocol):
    """A ground truth, as far as subset methods need it."""

    @property
    def masks(self) -> np.ndarray:
        """Shape `(M, n)`, true where the image was in the subset."""

    @property
    def losses(self) -> np.ndarray:
        """Shape `(M, S, m)`, NaN where not measured yet."""

    @property
    def query_ids(self) -> tuple[str, ...]:
        """Content hash of each query image."""

    @property
    def image_ids(self) -> tuple[str, ...]:
        """Content hash of each training image; empty where not known."""


@dataclass(frozen=True)
class SubsetLosses:
    """What subset methods learn from.

    Attributes:
        masks: shape `(M, n)`, true where the image was in the subset.
        losses: shape `(M, m)` or `(M, S, m)`.
        query_ids: content hash of each query image; empty where not known.
        image_ids: content hash of each training image; empty where not known.
    """

    masks: Any
    losses: Any
    query_ids: tuple[str, ...] = ()
    image_ids: tuple[str, ...] = ()

    @classmethod
    def of(cls, truth: GroundTruthArrays, image_ids: Sequence[str]) -> Self:
        """The finished subsets of a ground truth.

        Args:
            truth: masks and losses of these training images.
            image_ids: content hash of each training image, in order.

        Raises:
            DataError: if the ground truth is of other images or of another order, knows no query
                images, or no subset of it is finished.
        """
        if truth.image_ids and tuple(truth.image_ids) != tuple(image_ids):
            raise DataError(
                f"The ground truth is of {len(truth.image_ids)} training images other than these "
                f"{len(image_ids)}, or in another order. Give the images that it was made with."
            )
        losses = loss_array(truth.losses, len(truth.masks))
        masks = subset_masks(truth.masks, len(image_ids), least=1)
        if len(truth.query_ids) != losses.shape[2]:
            raise DataError(
                "The ground truth does not know its query images, so none can be recognized. Make "
                "it with them (GroundTruth.from_arrays(..., queries=...))."
            )
        rows = np.flatnonzero(~np.isnan(losses).any((1, 2)))
        if not len(rows):
            raise DataError(
                f"None of {len(masks)} subsets is finished with all its seeds. Continue the "
                "retraining (creditline evaluate retrain)."
            )
        return cls(masks[rows], losses[rows], tuple(truth.query_ids), tuple(image_ids))

    def fingerprint(self) -> str:
        """Hash of everything in it."""
        arrays = [("masks", np.asarray(self.masks)), ("losses", np.asarray(self.losses))]
        return fingerprint.of_json([fingerprint.of_arrays(arrays), list(self.query_ids)])


def subset_masks(masks: Any, n: int | None = None, least: int = MIN_SUBSETS) -> np.ndarray:
    """Masks as booleans of shape `(M, n)`.

    Args:
        masks: booleans, or numbers that are all 0 or 1.
        n: number of training images, where it is known.
        least: fewest subsets that are enough.

    Raises:
        DataError: on another shape, other values, or too few subsets.
    """
    array = np.asarray(masks)
    if array.ndim != 2:
        raise DataError(
            f"Masks have shape (subsets, training images); got {array.shape}. One row per subset, "
            "1 where the image was in its training set."
        )
    if n is not None and array.shape[1] != n:
        hint = " They look transposed." if array.shape[0] == n else ""
        raise DataError(
            f"Masks need one column for each of {n} training images; got shape {array.shape}."
            f"{hint} Images are in the order of the index: that of their file names."
        )
    if array.dtype != np.bool_:
        if array.dtype.kind not in "iuf" or not np.isin(array, (0, 1)).all():
            raise DataError(
                f"Masks hold only 0 and 1; got {array.dtype} values such as "
                f"{_invalid_value(array)!r}. Write 1 where the image was in the subset."
            )
        array = array.astype(np.bool_)
    _require_enough(array, least)
    return array


def trainable_masks(masks: Any, n: int | None = None) -> np.ndarray:
    """Masks of any number of subsets that models can be trained on.

    Raises:
        DataError: as `subset_masks`, and on a subset without an image.
    """
    array = subset_masks(masks, n, least=1)
    empty = np.flatnonzero(~array.any(1))
    if len(empty):
        raise DataError(f"Subset {empty[0]} holds no image. Remove its row.")
    return array


def loss_array(losses: Any, subsets: int | None = None) -> np.ndarray:
    """Losses as float64 of shape `(M, S, m)`; NaN where one is not measured yet.

    Args:
        losses: shape `(M, m)` for one seed, or `(M, S, m)`.
        subsets: M, where it is known.

    Raises:
        DataError: on another shape or type, another number of subsets, or an infinite value.
    """
    values = np.asarray(losses)
    if values.ndim not in (2, 3) or values.dtype.kind not in "iuf":
        raise DataError(
            "Losses are numbers of shape (subsets, queries) or (subsets, seeds, queries); got "
            f"{values.dtype} of shape {values.shape}."
        )
    if not values.size:
        raise DataError(f"There are no losses: their shape is {values.shape}.")
    array = values.astype(np.float64)
    array = array[:, None, :] if array.ndim == 2 else array
    if subsets is not None and len(array) != subsets:
        hint = " Their axes may be in another order." if subsets in values.shape else ""
        raise DataError(
            f"Losses need one row for each of {subsets} subsets; got shape {values.shape}.{hint} "
            "Axes are (subsets, queries) or (subsets, seeds, queries)."
        )
    if np.isinf(array).any():
        j, s, q = np.argwhere(np.isinf(array))[0]
        raise DataError(
            f"The loss of query {q} in subset {j}, seed {s} is infinite. Train that model again."
        )
    return array


def subset_losses(
    losses: Any,
    subsets: int | None = None,
    query_names: Sequence[str] | None = None,
    least: int = MIN_SUBSETS,
) -> np.ndarray:
    """Losses as float64 of shape `(M, S, m)`, all of them measured and no query constant.

    Args:
        losses, subsets: as `loss_array`.
        query_names: of the m queries, for errors.
        least: fewest subsets that are enough.

    Raises:
        DataError: as `loss_array`, and on too few subsets, losses that are missing, or a query
            whose loss is the same under all subsets.
    """
    array = loss_array(losses, subsets)
    if query_names is not None and len(query_names) != array.shape[2]:
        raise DataError(
            f"Losses need one column for each of {len(query_names)} queries; got shape "
            f"{np.shape(losses)}. Give every folder of queries, in the order of the columns."
        )
    _require_enough(array, least)
    missing = np.isnan(array)
    if missing.any():
        subset, seed, query = np.argwhere(missing)[0]
        raise DataError(
            f"{int(missing.any((1, 2)).sum())} of {len(array)} subsets have losses that are "
            f"missing, first subset {subset}, seed {seed}, {_name(query, query_names)}. "
            "Finish the retraining, or keep the complete subsets only."
        )
    mean = array.mean(1)
    constant = np.ptp(mean, axis=0) <= ROUNDING * np.abs(mean).max(axis=0)
    if constant.any():
        query = int(np.argmax(constant))
        raise DataError(
            f"The loss of {_name(query, query_names)} is the same under all {len(array)} subsets, "
            f"up to rounding ({int(constant.sum())} such queries), so there is nothing to "
            "predict. Check that each subset's own model was measured."
        )
    return array


def _require_enough(array: np.ndarray, least: int) -> None:
    if len(array) < least:
        raise DataError(
            f"{len(array)} subsets are too few; at least {least} are needed. Retrain on more: 64 "
            "are usual."
        )


def _invalid_value(array: np.ndarray) -> Any:
    """A value that is neither 0 nor 1."""
    if array.dtype.kind not in "iuf":
        return array.flat[0] if array.size else None
    return array[~np.isin(array, (0, 1))][0].item()


def _name(query: int, names: Sequence[str] | None) -> str:
    return f"query {query}" if names is None else f"query {names[query]}"
