"""The `creditline` command: finds its subcommands when they are asked for, and ends politely.

Exit codes: 0 done; 1 the doctor found a fault; 2 something the user can mend; 130 interrupted.
"""

from __future__ import annotations

from errno import ENOSPC
from typing import Any

import click

from creditline.cli.lazy import LazyGroup
from creditline.cli.notices import shown_notices
from creditline.errors import CreditlineError
from creditline.version import __version__

COMMANDS: dict[str, tuple[str, str]] = {
    "train": ("creditline.cli.train", "Train a small diffusion model on images."),
    "generate": ("creditline.cli.generate", "Generate images with a model."),
    "index": ("creditline.cli.index", "Index the images that a model was trained on."),
    "trace": ("creditline.cli.trace", "Trace images to the training images they owe most to."),
    "search": ("creditline.cli.search", "Search the same training images faster, without totals."),
    "add": ("creditline.cli.add", "Add images to an index."),
    "remove": ("creditline.cli.remove", "Remove images from an index."),
    "info": ("creditline.cli.info", "Show what an index was made from."),
    "methods": ("creditline.cli.methods", "List the attribution methods."),
    "evaluate": ("creditline.cli.evaluate", "Evaluate attributions against retrained models."),
    "benchmark": (
        "creditline.cli.benchmark",
        "Evaluate every method on an included benchmark.",
    ),
    "demo": ("creditline.cli.demo", "Train on real icons, generate, trace, write a report."),
    "doctor": ("creditline.cli.doctor", "Check a model before a long index and estimate its cost."),
}
RESUMABLE = ("train", "generate", "index", "add", "benchmark", "demo")


class ErrorExit(click.ClickException):
    """An end with a message on stderr and no traceback."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        click.echo(f"creditline: {self.message}", file=file, err=True)


class Interrupted(ErrorExit):
    """Ctrl-C."""

    exit_code = 130


class CommandGroup(LazyGroup):
    """The whole command line, whose errors are one message."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with shown_notices():
                return super().invoke(ctx)
        except CreditlineError as error:
            raise ErrorExit(str(error)) from error
        except OSError as error:
            if error.filename is None and error.errno != ENOSPC:  # such as a closed pipe
                raise
            about = "" if error.filename is None else f": {error.filename}"
            raise ErrorExit(f"{error.strerror}{about}") from error
        except KeyboardInterrupt as error:
            again = ctx.invoked_subcommand in RESUMABLE
            hint = " The same command continues where it stopped." if again else ""
            if ctx.invoked_subcommand == "evaluate":
                hint = " Models and indexes that are finished are kept for the same command."
            raise Interrupted(f"interrupted.{hint}") from error


@click.group(
    cls=CommandGroup,
    modules=COMMANDS,
    plugins="creditline.commands",
    context_settings={"max_content_width": 100},
)
@click.version_option(__version__, prog_name="creditline")
def main() -> None:
    """Which training images, and whose, does a generated image owe most to?

    \b
    creditline train IMAGES --out run --preset small-16
    creditline generate run -n 16 --out generated
    creditline index run IMAGES --out index
    creditline trace index generated/00000.png --html report.html
    """
