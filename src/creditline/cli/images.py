"""Options of every command that reads training images."""

from __future__ import annotations

from collections.abc import Callable
from shlex import quote
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from creditline.cli.console import echo
from creditline.cli.options import flag, given_settings, leaves, settings_options
from creditline.cli.sections import option
from creditline.data.image_spec import ImageSpec
from creditline.data.metadata_spec import MetadataSpec
from creditline.data.selection import SelectionSpec
from creditline.settings import override

if TYPE_CHECKING:
    from creditline.data.image_set import ImageSet

F = TypeVar("F", bound=Callable[..., Any])

SECTION = "Images"
ORIGIN = (MetadataSpec(), SelectionSpec())
LEAVE_OUT = ("image_column",)  # of datasets, which have no form on the command line
_MASKS = option(
    "--masks",
    "image_masks",  # other commands have masks of subsets
    section=SECTION,
    help="part of each image that is attributed, white on black: column (`mask` in the metadata), "
    "or a folder of masks with the images' names  [default: all of it]",
)


def origin_options(command: F) -> F:
    """Decorate a command with options for metadata and selection of images."""
    return settings_options(*ORIGIN, section=SECTION, leave_out=LEAVE_OUT)(command)


def masks_option(command: F) -> F:
    """Decorate a command that indexes images with `--masks`."""
    return _MASKS(command)


def image_options(command: F) -> F:
    """Decorate a command with `origin_options` and options for the preparation of images."""
    return settings_options(ImageSpec(), section=SECTION)(origin_options(command))


def load(
    source: str,
    spec: ImageSpec | None = None,
    check_shape: Callable[[tuple[int, int, int]], object] | None = None,
) -> ImageSet:
    """Load the images of `source` as the options of the current command say.

    Args:
        source: where they are.
        spec: their preparation, if no option says so.
        check_shape: refuses a shape that the model does not take. It is asked about a size that was
            given before any image is prepared.
    """
    from creditline.data.image_listing import abbreviate
    from creditline.data.load import load_images

    spec = _from_options(ImageSpec()) if spec is None else spec
    if check_shape is not None and spec.size is not None:
        check_shape((3, spec.size, spec.size))
    images = load_images(
        source,
        spec,
        metadata=_from_options(MetadataSpec()),
        selection=_from_options(SelectionSpec()),
        masks=click.get_current_context().params.get("image_masks"),
    )
    if images.skipped:
        listed = abbreviate([f"{name} ({reason})" for name, reason in images.skipped])
        echo(f"Left out of {images.source}: {listed}.", err=True)
    return images


def _from_options(settings: Any) -> Any:
    return override(settings, given_settings(settings))


def given_options() -> str:
    """Return the image options of the current command line, for the next command."""
    context = click.get_current_context()
    parts = []
    for name in leaves(ImageSpec(), *ORIGIN):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            value = context.params[name]
            parts.append(flag(name) if value is True else f"{flag(name)} {quote(str(value))}")
    return "".join(f" {part}" for part in parts)
