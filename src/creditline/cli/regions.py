"""Options of every command that traces a part of pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from creditline.errors import SettingsError

F = TypeVar("F", bound=Callable[..., Any])


def region_options(command: F) -> F:
    """A decorator: `--region` and `--mask`; see `chosen_region`."""
    command = click.option(
        "--mask",
        "masks",
        multiple=True,
        metavar="FILE",
        help="only what is white in FILE, a gray picture of PICTURE's aspect; one, or one each",
    )(command)
    return click.option(
        "--region",
        "regions",
        multiple=True,
        metavar="LEFT,TOP,RIGHT,BOTTOM",
        help="only this part of PICTURE, in fractions of its width and height; one, or one each",
    )(command)


def chosen_region(regions: Sequence[str], masks: Sequence[str]) -> list[Any] | None:
    """The regions that were given, for `Index.trace`; None: whole pictures.

    Raises:
        SettingsError: if both kinds were given, or a box is not four numbers.
    """
    if regions and masks:
        raise SettingsError(
            "--region and --mask both say which part of a picture counts. Give one of them."
        )
    return list(masks) or list(map(_box, regions)) or None


def _box(text: str) -> list[float]:
    try:
        left, top, right, bottom = map(float, text.split(","))
    except ValueError as error:
        raise SettingsError(
            f"--region {text!r} is not four numbers. Write LEFT,TOP,RIGHT,BOTTOM as fractions of "
            "width and height: the left half is 0,0,0.5,1."
        ) from error
    return [left, top, right, bottom]
