"""Check that images and queries are those of a ground truth."""

from __future__ import annotations

from collections.abc import Sequence

from creditline.errors import IndexMismatchError


def check_ids(
    what: str, owner: str, ids: Sequence[str], known: Sequence[str], names: Sequence[str], n: int
) -> None:
    """Check that ids equal those of the ground truth, in the same order.

    Where the ground truth has no ids, only their number is compared.

    Args:
        what: plural noun for messages, such as `"images"`.
        owner: object that has the ids, such as `"index"`.
        ids: ids to check.
        known: ids of the ground truth; may be empty.
        names: names that belong to `known`.
        n: number of ids in the ground truth.

    Raises:
        IndexMismatchError: if they differ.
    """
    if len(ids) != n:
        raise IndexMismatchError(
            f"The ground truth has {n} {what} and the {owner} has {len(ids)}. Use the same {what}."
        )
    wrong = [i for i, (a, b) in enumerate(zip(ids, known, strict=False)) if a != b]
    if not wrong:
        return
    if sorted(ids) == sorted(known):
        raise IndexMismatchError(
            f"The {owner} has the {what} of the ground truth in another order, from number "
            f"{wrong[0]} on. Load both in the same order, such as that of the file names."
        )
    raise IndexMismatchError(
        f"{len(wrong)} {what} of the {owner} are not those of the ground truth; the first is "
        f"number {wrong[0]}, {names[wrong[0]]} in the ground truth. Use the same images with the "
        "same preparation."
    )
