"""Options and output of every command that makes a table over a shipped benchmark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from creditline.cli.console import echo
from creditline.cli.runtime import device_option
from creditline.files import write_file

if TYPE_CHECKING:
    from creditline.benchmarks.shipped_benchmark import ShippedBenchmark

F = TypeVar("F", bound=Callable[..., Any])


def benchmark_options(command: F) -> F:
    """A decorator: a benchmark, its images, where results are, and where models run."""
    for option in (
        click.option("--markdown", metavar="FILE", help="write the tables"),
        click.option("--timesteps", default="10", show_default=True, help="per training image"),
        click.option(
            "--from", "packed", metavar="DIR", help="files that --pack wrote, not the shipped"
        ),
        click.option(
            "--out", help="folder of `creditline benchmark`  [default: runs/benchmark-NAME]"
        ),
        click.option("--data", help="the images, where the benchmark does not know them"),
        click.argument("name"),
    ):
        command = option(command)
    return device_option(command)


def files_and_folder(
    name: str, packed: str | None, out: str | None
) -> tuple[ShippedBenchmark, Path]:
    """The files of a benchmark, and the folder of its results."""
    from creditline.benchmarks import get
    from creditline.benchmarks.shipped_benchmark import find

    return find(get(name), packed), Path(out or f"runs/benchmark-{name}")


def echo_error(line: str) -> None:
    """Print a line of progress."""
    echo(line, err=True)


def write_tables(text: str, markdown: str | None) -> None:
    """Print tables, and write them where `--markdown` says."""
    if markdown is not None:  # first, as the printing may end early
        write_file(Path(markdown), lambda p: p.write_text(text + "\n", "utf-8"), overwrite=True)
    echo(text)
