"""Options of every command that can trace a region of an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from creditline.errors import SettingsError

F = TypeVar("F", bound=Callable[..., Any])


def region_options(command: F) -> F:
    """Decorate a command with `--region` and `--mask`; see `parse_regions`."""
    command = click.option(
        "--mask",
        "masks",
        multiple=True,
        metavar="FILE",
        help="trace only what is white in FILE, a gray image of IMAGE's aspect; one, or one each",
    )(command)
    return click.option(
        "--region",
        "regions",
        multiple=True,
        metavar="LEFT,TOP,RIGHT,BOTTOM",
        help="trace only this box, in fractions of width and height; one, or one each",
    )(command)


def parse_regions(regions: Sequence[str], masks: Sequence[str]) -> list[Any] | None:
    """Return the regions of the options, for `Index.trace`; None: whole images.

    Raises:
        SettingsError: if both options were given, or a box is not four numbers.
    """
    if regions and masks:
        raise SettingsError(
            "--region and --mask both say which part of an image counts. Give one of them."
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
