"""`creditline demo`."""

from __future__ import annotations

from typing import Any

import click

from creditline.cli.console import echo
from creditline.cli.runtime import device_option, executor_options, runtime
from creditline.cli.sections import SectionedCommand


@click.command(name="demo", cls=SectionedCommand)
@click.option("--out", default="runs/demo", show_default=True, help="folder to write or continue")
@executor_options
@device_option
def command(out: str, **_: Any) -> None:
    """Train a small model on real icons by four artists, generate 16 and trace them back.

    Everything from training to the report, in about 10 minutes on two cores. After an
    interruption, the same command continues.
    """
    from creditline import demo

    demo.run(out, runtime=runtime(), say=echo)
