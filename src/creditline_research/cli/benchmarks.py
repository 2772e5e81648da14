"""Options and output of every command that makes a table over a shipped benchmark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from creditline.cli.console import echo
from creditline.cli.runtime import device_option
from creditline.errors import SettingsError
from creditline.files import write_file

if TYPE_CHECKING:
    from creditline.benchmarks.shipped_benchmark import ShippedBenchmark
    from creditline_research.studies.subject import Subject

F = TypeVar("F", bound=Callable[..., Any])


def benchmark_options(command: F, *, needs_name: bool = True) -> F:
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
        click.argument("name", required=needs_name),
    ):
        command = option(command)
    return device_option(command)


def subject_options(command: F) -> F:
    """A decorator: `benchmark_options`, or a model of one's own with its ground truth."""
    for option in (
        click.option("--ground-truth", metavar="DIR", help="what `evaluate retrain` wrote"),
        click.option(
            "--queries",
            multiple=True,
            metavar="FOLDER",
            help="query images, repeated in the order of the ground truth",
        ),
        click.option("--images", metavar="FOLDER", help="training images of the model"),
        click.option("--model", metavar="MODEL", help="instead of a benchmark: a model"),
    ):
        command = option(command)
    return benchmark_options(command, needs_name=False)


def subject_and_folder(
    *,
    name: str | None,
    packed: str | None,
    out: str | None,
    data: str | None,
    model: str | None,
    images: str | None,
    queries: tuple[str, ...],
    ground_truth: str | None,
    **_: Any,
) -> tuple[Subject, Path]:
    """What the options name, and the folder of its results.

    Raises:
        SettingsError: if they name neither a benchmark nor a model with everything else, or both.
    """
    from creditline_research.studies.subject import Subject

    own = {
        "--model": model,
        "--images": images,
        "--queries": queries,
        "--ground-truth": ground_truth,
    }
    named = [option for option, value in own.items() if value]
    if name is not None and not named:
        case, folder = files_and_folder(name, packed, out)
        return Subject.of_benchmark(case, data), folder
    of_benchmark = {"NAME": name, "--from": packed, "--data": data}
    others = [option for option, value in of_benchmark.items() if value is not None]
    if others or model is None or images is None or not queries or ground_truth is None:
        raise SettingsError(
            f"Give the NAME of a benchmark, or all of {', '.join(own)}; got "
            f"{', '.join([*others, *named]) or 'neither'}."
        )
    folder = Path(out or f"runs/study-{Path(model).resolve().name}")
    return Subject.of_files(model, images, queries, ground_truth), folder


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
