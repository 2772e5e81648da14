"""Are the images and queries of something those of the ground truth?"""

from __future__ import annotations

from collections.abc import Sequence

from creditline.errors import IndexMismatchError


def check_ids(
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
