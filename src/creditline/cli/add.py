"""`creditline add`."""

from __future__ import annotations

from typing import Any

import click

from creditline.cli import images, models
from creditline.cli.console import echo
from creditline.cli.models import existing
from creditline.cli.runtime import executor_options, runtime
from creditline.cli.sections import SectionedCommand
from creditline.data.image_spec import ImageSpec
from creditline.lock import locked
from creditline.settings import from_dict


@click.command(name="add", cls=SectionedCommand)
@click.argument("index")
@click.argument("data")
@executor_options
@models.indexed_options
@images.masks_option
@images.origin_options
def command(index: str, data: str, paths: tuple[str, ...], **_: Any) -> None:
    """Add the images of DATA to INDEX without rebuilding it.

    They are prepared as the images of the index were. Images that INDEX has already, with the same
    pixels and name, are left out. Scores become those of an index of all images. After an
    interruption, the same command continues.
    """
    with locked(existing(index)):
        opened = models.open_index(index, paths)
        spec = from_dict(ImageSpec, opened.manifest.request["images"]["spec"])
        new_images, before = images.load(data, spec), opened.n
        opened = opened.add(new_images, runtime=runtime())
    added = opened.n - before
    echo(f"{opened.path}: {added:,} added to {before:,}, now {opened.n:,} images")
