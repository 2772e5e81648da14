"""Checks of a ground truth's arrays, and of the ids of what it is compared with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from creditline.errors import DataError, IndexMismatchError


def as_masks(masks: np.ndarray) -> np.ndarray:
    """Masks as bool of shape `(M, n)`.

    Raises:
        DataError: for another shape, values other than 0 and 1, and subsets without an image.
    """
    masks = np.asarray(masks)
    if masks.ndim != 2 or 0 in masks.shape:
        raise DataError(
            f"Masks have one row per subset and one column per training image; got shape "
            f"{masks.shape}."
        )
    if masks.dtype != bool:
        if masks.dtype.kind not in "iuf" or not np.isin(masks, (0, 1)).all():
            raise DataError(
                f"Masks hold 1 where a subset contains an image and 0 elsewhere; got type "
                f"{masks.dtype} with other values. Turn lists of row numbers into such a matrix."
            )
        masks = masks.astype(bool)
    empty = np.flatnonzero(~masks.any(1))
    if len(empty):
        raise DataError(f"Subset {empty[0]} holds no image. Remove its row.")
    return masks


def as_losses(losses: np.ndarray, subsets: int) -> np.ndarray:
    """Losses as float64 of shape `(M, S, m)`.

    Raises:
        DataError: for another shape or type, another number of subsets, and infinite values.
    """
    losses = np.asarray(losses)
    if losses.dtype.kind not in "iuf":
        raise DataError(f"Losses are numbers; got type {losses.dtype}.")
    if losses.ndim == 2:
        losses = losses[:, None]
    if losses.ndim != 3 or 0 in losses.shape:
        raise DataError(
            "Losses have the shape (subsets, queries) or (subsets, seeds, queries); got "
            f"{losses.shape}."
        )
    if len(losses) != subsets:
        hint = " Their axes may be in another order." if subsets in losses.shape else ""
        raise DataError(
            f"The masks are of {subsets} subsets, the losses of {len(losses)} (shape "
            f"{losses.shape}).{hint}"
        )
    losses = losses.astype(np.float64)
    if np.isinf(losses).any():
        j, s, q = np.argwhere(np.isinf(losses))[0]
        raise DataError(
            f"The loss of query {q} in subset {j}, seed {s} is infinite. Train that model again."
        )
    return losses


def require_same(
    what: str, whole: str, ids: Sequence[str], known: Sequence[str], names: Sequence[str], n: int
) -> None:
    """Refuse ids that are not the known ones in order; of unknown ones only the number counts.

    Args:
        what: they are ids of, in the plural.
        whole: what has them.
        ids: given.
        known: those of the ground truth; empty if it does not know them.
        names: of the known ones.
        n: how many there must be.

    Raises:
        IndexMismatchError: if they differ.
    """
    if len(ids) != n:
        raise IndexMismatchError(
            f"The ground truth is of {n} {what} where the {whole} has {len(ids)}. Use the same."
        )
    wrong = [i for i, (a, b) in enumerate(zip(ids, known, strict=False)) if a != b]
    if not wrong:
        return
    if sorted(ids) == sorted(known):
        raise IndexMismatchError(
            f"The {whole} has the ground truth's {what} in another order, from number {wrong[0]} "
            "on. Load both in the same order, such as that of the file names."
        )
    raise IndexMismatchError(
        f"{len(wrong)} {what} of the {whole} are not those of the ground truth; the first is "
        f"number {wrong[0]}, {names[wrong[0]]} in the ground truth. Use the same pictures, "
        "prepared in the same way."
    )
