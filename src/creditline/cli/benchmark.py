"""`creditline benchmark`."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import click

from creditline.benchmarks import get
from creditline.bounds import COUNT
from creditline.cli.console import echo
from creditline.cli.options import NumberType, flag, given_settings, settings_options
from creditline.cli.runtime import device_option, executor_options, runtime
from creditline.cli.sections import SectionedCommand
from creditline.errors import CreditlineError, SettingsError
from creditline.evaluation.lds.config import LDSConfig
from creditline.files import write_file
from creditline.settings import override


@click.command(name="benchmark", cls=SectionedCommand)
@click.argument("name")
@click.option("--data", help="the images, where the benchmark has no source")
@click.option(
    "--method",
    "methods",
    multiple=True,
    help="a method, or package.module:Class; repeat for several  [default: all registered]",
)
@click.option("--out", help="folder for indexes and results  [default: runs/benchmark-NAME]")
@click.option("--timesteps", help="per training image  [default: 10,100]")
@click.option(
    "--ensemble",
    type=NumberType(COUNT),
    help="judge gradient methods of N models as well; trains them",
)
@click.option("--markdown", metavar="FILE", help="write the tables")
@click.option("--build", "build_in", metavar="DIR", help="make the ground truth instead, in DIR")
@click.option("--pack", metavar="DIR", help="with --build: copy what ships into DIR")
@click.option("--from", "packed", metavar="DIR", help="files that --pack wrote, not the shipped")
@click.option(
    "--limit-tasks", type=NumberType(COUNT), help="with --build: train at most N models now"
)
@executor_options
@device_option
@settings_options(LDSConfig(), section="Judging")
def command(
    name: str,
    data: str | None,
    methods: tuple[str, ...],
    out: str | None,
    timesteps: str | None,
    ensemble: int | None,
    markdown: str | None,
    build_in: str | None,
    pack: str | None,
    packed: str | None,
    limit_tasks: int | None,
    **_: Any,
) -> None:
    """Judge methods on a benchmark whose ground truth ships, without retraining.

    NAME is icons or cifar2-small. Interrupt it at any time; the same command continues. --build
    continues a shipped ground truth whose retraining is unfinished.
    """
    benchmark = get(name)
    if build_in is None and (pack is not None or limit_tasks is not None):
        raise SettingsError("--pack and --limit-tasks go with --build DIR.")
    if build_in is not None:
        judging = {
            "--method": methods or None,
            "--out": out,
            "--timesteps": timesteps,
            "--ensemble": ensemble,
            "--markdown": markdown,
        }
        idle = [option for option, value in judging.items() if value is not None]
        idle += [flag(setting) for setting in given_settings(LDSConfig())]
        if idle:
            raise SettingsError(
                f"{' and '.join(idle)} with --build DIR would do nothing: building judges no "
                "method. Leave it out, or run the benchmark afterwards."
            )
        _build(benchmark, build_in, data, pack, limit_tasks, packed)
        return
    from creditline.benchmarks.page import page
    from creditline.benchmarks.run import run
    from creditline.benchmarks.shipped_benchmark import find

    results = run(
        find(benchmark, packed),
        Path(out or f"runs/benchmark-{name}"),
        names=methods,
        data=data,
        timesteps=numbers("10,100" if timesteps is None else timesteps),
        ensemble=1 if ensemble is None else ensemble,
        runtime=runtime(),
        config=override(LDSConfig(), given_settings(LDSConfig())),
        say=lambda line: echo(line, err=True),
    )
    text = page(results)
    if markdown is not None:  # first, as the printing may end early
        write_file(Path(markdown), lambda p: p.write_text(text + "\n", "utf-8"), overwrite=True)
    echo(text)


def _build(
    benchmark: Any,
    folder: str,
    data: str | None,
    target: str | None,
    limit_tasks: int | None,
    packed: str | None,
) -> None:
    from creditline.benchmarks.build import build
    from creditline.benchmarks.shipped_benchmark import find, pack, unpack

    # A benchmark may not ship yet; files that were named must exist.
    with suppress(CreditlineError) if packed is None else nullcontext():
        unpack(find(benchmark, packed), folder)
    truths = build(
        benchmark,
        folder,
        data=data,
        runtime=runtime(),
        limit_tasks=limit_tasks,
        say=echo,
    )
    for name, truth in truths.items():
        echo(f"{name}: {int(truth.finished.sum())} of {truth.finished.size} models trained")
    if target is not None:
        echo(f"packed into {pack(benchmark, folder, target, data).folder}")


def numbers(text: str) -> list[int]:
    """Read whole numbers with commas between.

    Raises:
        SettingsError: if they are something else.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise SettingsError(
            f"--timesteps is whole numbers with commas between; got {text!r}. Try 10,100."
        ) from None
