"""The `creditline` command: finds its subcommands when they are asked for, and ends politely.

Exit codes: 0 done; 1 the doctor found a fault, or `verify` found damage; 2 something the user can
mend; 3 a defect; 130 interrupted.
"""

from __future__ import annotations

import sys
import traceback
from errno import EPIPE
from typing import Any

import click

from creditline.cli.advice import complete_advice
from creditline.cli.console import echo, prepare_streams
from creditline.cli.defect import Defect
from creditline.cli.lazy import PATH, LazyGroup
from creditline.cli.notices import shown_notices
from creditline.explain import explain
from creditline.version import __version__
from creditline.visible import shorten

COMMANDS: dict[str, tuple[str, str]] = {
    "train": ("creditline.cli.train", "Train a small diffusion model on images."),
    "generate": ("creditline.cli.generate", "Generate images with a model."),
    "index": ("creditline.cli.index", "Index the images that a model was trained on."),
    "trace": ("creditline.cli.trace", "Trace images to the training images they owe most to."),
    "search": ("creditline.cli.search", "Search the same training images faster, without totals."),
    "add": ("creditline.cli.add", "Add images to an index."),
    "remove": ("creditline.cli.remove", "Remove images from an index."),
    "info": ("creditline.cli.info", "Show what an index was made from."),
    "verify": ("creditline.cli.verify", "Check everything that a folder holds."),
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
        # Indented, so that a line of a quoted name does not look like one of ours.
        first, *rest = shorten(self.message).splitlines() or [""]
        echo("\n".join([f"creditline: {first}", *(f"  {line}" for line in rest)]), err=True)


class Interrupted(ErrorExit):
    """Ctrl-C."""

    exit_code = 130


class DefectExit(ErrorExit):
    """An error that is a defect of Creditline."""

    exit_code = 3


class CommandGroup(LazyGroup):
    """The whole command line, whose errors are one message."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        prepare_streams()
        return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with shown_notices():
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt as error:
            again = ctx.invoked_subcommand in RESUMABLE
            hint = " The same command continues where it stopped." if again else ""
            if ctx.invoked_subcommand == "evaluate":
                hint = " Models and indexes that are finished are kept for the same command."
            raise Interrupted(f"interrupted.{hint}") from error
        except Exception as error:
            if isinstance(error, OSError) and error.errno == EPIPE:  # such as `| head`
                raise
            if ctx.params["debug"]:
                echo("".join(traceback.format_exception(error)), err=True)
            raise self._ending(error, ctx) from error

    def _ending(self, error: Exception, ctx: click.Context) -> click.ClickException:
        """Turn any error into one message."""
        known = explain(error)
        if known is not None:
            return ErrorExit(complete_advice(str(known), self, ctx))
        if isinstance(error, OSError):
            about = "" if error.filename is None else f": {error.filename}"
            return ErrorExit(f"{error.strerror or error}{about}")
        return DefectExit(str(Defect(error, sys.argv[1:], ctx.meta.get(PATH))))


@click.group(
    cls=CommandGroup,
    modules=COMMANDS,
    plugins="creditline.commands",
    context_settings={"max_content_width": 100},
)
@click.version_option(__version__, prog_name="creditline")
@click.option("--debug", is_flag=True, help="show the traceback of an error")
def main(debug: bool) -> None:
    """Which training images, and whose, does a generated image owe most to?

    \b
    creditline train IMAGES --out run --preset small-16
    creditline generate run -n 16 --out generated
    creditline index run IMAGES --out index
    creditline trace index generated/00000.png --html report.html
    """
