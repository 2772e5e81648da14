"""`creditline doctor`."""

from __future__ import annotations

from typing import Any

import click

from creditline import methods
from creditline.cli import images, models
from creditline.cli.index import configured
from creditline.cli.options import given, settings_options
from creditline.cli.sections import SectionedCommand

GRADIENT = [cls() for cls in methods.METHODS.values() if cls.source == "gradients"]


@click.command(name="doctor", cls=SectionedCommand)
@click.argument("model")
@click.argument("data", required=False)
@click.option("--method", default="d-trak", show_default=True, help="see `creditline methods`")
@click.option("--samples", type=int, default=4, show_default=True, help="images to look at")
@click.option("--images", "n", type=int, help="images to reckon for  [default: all, or 10000]")
@click.option("--out", default=".", show_default=True, help="where the index would be written")
@models.workers_option
@models.parts_options
@images.image_options
@settings_options(*GRADIENT, section="Method")
def command(
    model: str,
    data: str | None,
    method: str,
    samples: int,
    n: int | None,
    out: str,
    device: str,
    **_: Any,
) -> None:
    """Examine MODEL (and its training images DATA) before a long index.

    Are gradients exact, finite, repeatable and independent of their batch, and which parameters do
    they cover? Then what an index would cost in time and disk, measured on a few images. The exit
    code is 1 if a check fails. Without DATA random pictures are used.
    """
    from creditline.doctor import diagnose

    diagnosis = diagnose(
        models.load(model),
        None if data is None else images.load(data),
        method=configured(methods.get(method)(), given(*GRADIENT)),
        samples=samples,
        n=n,
        workers=models.workers(),
        out=out,
        device=device,
    )
    click.echo(str(diagnosis))
    if diagnosis.failed:
        click.get_current_context().exit(1)
