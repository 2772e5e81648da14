"""Options of every command that reads training images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from shlex import quote
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from creditline.cli.options import flag, given, settings_options
from creditline.cli.sections import option
from creditline.data.spec import ImageSpec

if TYPE_CHECKING:
    from creditline.data.image_set import ImageSet

F = TypeVar("F", bound=Callable[..., Any])

SECTION = "Images"
_ORIGINS = [
    option(
        "--labels",
        section=SECTION,
        help="where classes come from: column, folder or none  [default: column if any]",
    ),
    option(
        "--contributors",
        section=SECTION,
        help="where contributors come from: column, folder or none  [default: column if any]",
    ),
    *(
        option(
            f"--{what}-column",
            section=SECTION,
            default=what,
            show_default=True,
            help="its name in the metadata",
        )
        for what in ("contributor", "text", "label")
    ),
    option(
        "--prompt-template",
        section=SECTION,
        help="captions out of other columns: 'an icon of {label} by {contributor}'; of queries "
        "too, where these have them",
    ),
    option(
        "--skip-bad",
        section=SECTION,
        is_flag=True,
        help="leave out unreadable images and list them",
    ),
    option("--limit", section=SECTION, type=int, help="only the first so many images"),
    option("--sample", section=SECTION, type=int, help="only so many images, drawn at random"),
    option(
        "--sample-each",
        section=SECTION,
        help="draw so many of each: contributor or label",
    ),
    option(
        "--sample-seed",
        section=SECTION,
        type=int,
        default=0,
        show_default=True,
        help="seed of the draw",
    ),
    option(
        "--sample-skip",
        section=SECTION,
        type=int,
        default=0,
        show_default=True,
        help="leave out what a draw of so many would take",
    ),
]
_MASKS = option(
    "--masks",
    section=SECTION,
    help="the part of each image that is attributed, white on black: column (`mask` in the "
    "metadata), or a folder of masks of the images' names  [default: all of it]",
)
_NAMES = [
    *("labels", "contributors", "contributor_column", "text_column", "label_column"),
    "prompt_template",
    *("skip_bad", "limit", "sample", "sample_each", "sample_seed", "sample_skip"),
]


def origin_options(command: F) -> F:
    """A decorator: which images, and what is known about them."""
    for decorate in reversed(_ORIGINS):
        command = decorate(command)
    return command


def masks_option(command: F) -> F:
    """A decorator: `--masks`, for commands that index images."""
    return _MASKS(command)


def image_options(command: F) -> F:
    """A decorator: as `origin_options`, and how images are prepared."""
    return settings_options(ImageSpec(), section=SECTION)(origin_options(command))


def load(source: str, spec: Mapping[str, Any] | None = None) -> ImageSet:
    """The images of `source`, as the current command's options say.

    Args:
        source: where they are.
        spec: how they are prepared, where no option says so.
    """
    from creditline.data.load import load_images

    values = click.get_current_context().params
    prepared = given(ImageSpec()) if spec is None else spec
    named = {name: values[name] for name in _NAMES}
    return load_images(source, masks=values.get("masks"), **prepared, **named)


def typed() -> str:
    """The image options of the current command as they would be typed for the next one."""
    context = click.get_current_context()
    names = [*(f.name for f in fields(ImageSpec)), *_NAMES]
    parts = []
    for name in names:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            value = context.params[name]
            parts.append(flag(name) if value is True else f"{flag(name)} {quote(str(value))}")
    return "".join(f" {part}" for part in parts)
