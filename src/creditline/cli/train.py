"""`creditline train`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Any

import click

from creditline.cli import images
from creditline.cli.models import device_option
from creditline.cli.options import given, settings_options
from creditline.cli.sections import SectionedCommand
from creditline.diffusion.config import TrainConfig
from creditline.diffusion.presets import PRESETS, preset
from creditline.settings import override


@click.command(name="train", cls=SectionedCommand)
@click.argument("data")
@click.option("--out", required=True, help="run folder to write, or to continue")
@click.option(
    "--preset",
    "preset_name",
    default="small-16",
    show_default=True,
    help=f"settings to start from: {', '.join(PRESETS)}",
)
@click.option("--base", help="trained model of the same network to start from  [default: none]")
@click.option("--threads", type=int, help="CPU threads  [default: torch's choice]")
@click.option("--overwrite", is_flag=True, help="replace a run with other settings")
@device_option
@images.image_options
@settings_options(TrainConfig(), section="Training", default="")
def command(
    data: str,
    out: str,
    preset_name: str,
    base: str | None,
    threads: int | None,
    overwrite: bool,
    device: str,
    **_: Any,
) -> None:
    """Train a small diffusion model on the images of DATA.

    DATA is a folder, a zip file, a folder inside a zip file, or demo:icons. Settings of the network
    and of the training that are not given are the preset's. Interrupt it at any time; the same
    command continues.
    """
    config = override(preset(preset_name), given(TrainConfig()))
    from creditline.diffusion.train import train

    run = train(
        images.load(data),
        Path(out),
        config,
        base=base,
        device=device,
        threads=threads,
        overwrite=overwrite,
    )
    click.echo(f"{run} holds the trained model. Next:")
    click.echo(f"  creditline generate {quote(out)} -n 16 --out PICTURES")
    click.echo(f"  creditline index {quote(out)} {quote(data)} --out INDEX{images.typed()}")
