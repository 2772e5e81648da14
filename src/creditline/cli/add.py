"""`creditline add`."""

from __future__ import annotations

from typing import Any

import click

from creditline.cli import images, models
from creditline.cli.runtime import executor_options, runtime
from creditline.cli.sections import SectionedCommand
from creditline.data.image_spec import ImageSpec
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

    They are prepared as the images of the index were. Scores become those of an index of all
    images. After an interruption, the same command continues.
    """
    opened = models.open_index(index, paths)
    new_images = images.load(data, from_dict(ImageSpec, opened.manifest.request["images"]["spec"]))
    before = opened.n
    opened = opened.add(new_images, runtime=runtime())
    click.echo(f"{opened.path}: {len(new_images):,} added to {before:,}, now {opened.n:,} images")
