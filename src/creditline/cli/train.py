"""`creditline train`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Any

import click

from creditline.bounds import COUNT
from creditline.cli import images
from creditline.cli.console import echo
from creditline.cli.options import NumberType
from creditline.cli.runtime import runtime
from creditline.cli.sections import SectionedCommand
from creditline.cli.training import read_training, shape_check, training_options


@click.command(name="train", cls=SectionedCommand)
@click.argument("data")
@click.option("--out", required=True, help="run folder to write, or to continue")
@click.option("--threads", type=NumberType(COUNT), help="CPU threads  [default: torch's choice]")
@click.option(
    "--encoded", help="folder of latents and text embeddings to share  [default: in the run folder]"
)
@click.option("--overwrite", is_flag=True, help="replace a run with other settings")
@images.image_options
@training_options()
def command(
    data: str,
    out: str,
    encoded: str | None,
    overwrite: bool,
    **_: Any,
) -> None:
    """Train a diffusion model on the images of DATA.

    Without --base, or with one of the same network, a small model on pixels. With a pipeline as
    --base that pipeline is tuned: an adapter with --lora-rank, otherwise its complete denoiser.

    DATA is a folder, a zip file, a folder inside a zip file, or demo:icons. Settings of the network
    and of the training that are not given are the preset's. Interrupt it at any time; the same
    command continues.
    """
    config, base = read_training()
    from creditline.diffusion.train import train

    run = train(
        images.load(data, check_shape=shape_check(config, base)),
        Path(out),
        config,
        base=base,
        runtime=runtime(),
        encoded=encoded,
        overwrite=overwrite,
    )
    echo(f"{run} holds the trained model. Next:")
    prompt = " --prompt TEXT" if base is not None and base.takes_prompts else ""
    echo(f"  creditline generate {quote(out)} -n 16{prompt} --out IMAGES")
    echo(f"  creditline index {quote(out)} {quote(data)} --out INDEX{images.given_options()}")
