"""`creditline generate`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Any

import click

from creditline.bounds import COUNT, NOT_NEGATIVE
from creditline.cli import models
from creditline.cli.console import echo
from creditline.cli.options import NumberType, given_settings, settings_options
from creditline.cli.runtime import executor_options, runtime
from creditline.cli.sections import SectionedCommand
from creditline.diffusion.config import GenerateConfig
from creditline.settings import override


@click.command(name="generate", cls=SectionedCommand)
@click.argument("model")
@click.option(
    "-n", "n", type=NumberType(COUNT), default=16, show_default=True, help="number of images"
)
@click.option("--out", required=True, help="folder to write, or to continue")
@click.option(
    "--label",
    "labels",
    type=NumberType(NOT_NEGATIVE),
    multiple=True,
    help="class to generate; repeat for several",
)
@click.option("--prompt", "prompts", multiple=True, help="prompt; repeat for several")
@click.option(
    "--batch-size",
    type=NumberType(COUNT),
    help="images at a time, by one worker  [default: 8; on a GPU 64]",
)
@click.option("--overwrite", is_flag=True, help="replace images made with other settings")
@executor_options
@models.parts_options
@settings_options(GenerateConfig(), section="Sampling")
def command(
    model: str,
    n: int,
    out: str,
    labels: tuple[int, ...],
    prompts: tuple[str, ...],
    batch_size: int | None,
    overwrite: bool,
    **_: Any,
) -> None:
    """Generate images with MODEL, one seed per image.

    MODEL is a run of `creditline train`, one of its checkpoints, or a diffusers model folder.
    """
    from creditline.diffusion.generation import generate

    config = override(GenerateConfig(), given_settings(GenerateConfig()))
    folder = generate(
        models.load(model),
        n,
        Path(out),
        config,
        labels=labels or None,
        prompts=prompts or None,
        batch_size=batch_size,
        runtime=runtime(),
        overwrite=overwrite,
    )
    last = config.seed + n - 1
    echo(f"{folder} holds {n} images, from seeds {config.seed} to {last}. Next:")
    echo(f"  creditline trace INDEX {quote(out)} --html report.html")
