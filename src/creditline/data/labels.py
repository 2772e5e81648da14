"""Class labels and contributors out of metadata columns and folder names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import PurePosixPath

from creditline.data.image_listing import Value, abbreviate
from creditline.errors import DataError

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

LARGEST = 2**63 - 1
"""Class numbers are int64."""

DIGITS = 400
"""Characters of a number that are read; exponents make few of them large."""

Labels = tuple[tuple[int | None, ...], tuple[str, ...] | None]


def class_indices(
    values: Sequence[Value],
    column: str,
    classes: tuple[str, ...] | None = None,
    numbers: bool = True,
) -> Labels:
    """Class indices, and the names of the classes where they have names.

    Whole numbers (also `1.0`, which pandas writes beside missing values) are taken as they are,
    without names. Names are numbered in sorted order, or in the order of `classes` if known.
    Missing values stay None. With `numbers=False` everything is a name.

    Raises:
        DataError: for negative or fractional numbers, and for a mixture of numbers and names.
    """
    known = [value for value in values if value is not None]
    numeric = [value for value in known if NUMBER.fullmatch(value)]
    if classes is None and numbers and numeric:
        if len(numeric) < len(known):
            others = sorted({value for value in known if not NUMBER.fullmatch(value)})
            raise DataError(
                f"Column {column!r} mixes numbers with names ({abbreviate(others)}). "
                "Use class numbers from 0 on, or a name for every class."
            )
        numbers_of = {value: _exact_integer(value) for value in numeric}
        wrong = sorted(value for value, number in numbers_of.items() if number is None)
        if wrong:
            examples = abbreviate([value[:60] for value in wrong])
            raise DataError(
                f"Column {column!r} holds {examples}, which are no class labels. Use integers from "
                f"0 to {LARGEST} or names; leave unknown labels empty; or ignore the column with "
                "labels='none'."
            )
        return tuple(None if v is None else numbers_of[v] for v in values), None
    if not known:
        return tuple(None for _ in values), None
    ordered = classes or tuple(sorted(set(known)))
    index = {name: i for i, name in enumerate(ordered)}
    return tuple(None if v is None else index[v] for v in values), ordered


def _exact_integer(text: str) -> int | None:
    """Return the class number that a text writes out, exactly; None if it is none."""
    if len(text) > DIGITS:
        return None
    try:
        number = Decimal(text)
    except ArithmeticError:  # an exponent that Decimal cannot hold
        return None
    if not 0 <= number <= LARGEST or number != number.to_integral_value():
        return None
    return int(number)


def parent_folder(names: Sequence[str]) -> tuple[str, ...]:
    """The folder each image lies in."""
    return _folder(names, -1)


def first_folder(names: Sequence[str]) -> tuple[str, ...]:
    """The first folder below the source on the way to each image."""
    return _folder(names, 0)


def _folder(names: Sequence[str], at: int) -> tuple[str, ...]:
    loose = [name for name in names if len(PurePosixPath(name).parts) < 2]
    if loose:
        raise DataError(
            f"{len(loose)} images lie in no folder that could tell: {abbreviate(loose)}. Put them "
            "into folders, or take the information from metadata instead of 'folder'."
        )
    return tuple(PurePosixPath(name).parts[:-1][at] for name in names)
