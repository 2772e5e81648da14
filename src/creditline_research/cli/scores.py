"""`creditline research scores`."""

from __future__ import annotations

from typing import Any

import click

from creditline.cli.benchmark import numbers
from creditline.cli.options import given_settings, settings_options
from creditline.cli.runtime import executor_options, runtime
from creditline.cli.sections import SectionedCommand
from creditline.evaluation.lds.config import LDSConfig
from creditline.settings import override
from creditline_research.cli.benchmarks import (
    benchmark_options,
    echo_error,
    files_and_folder,
    write_tables,
)


@click.command(name="scores", cls=SectionedCommand)
@benchmark_options
@executor_options
@settings_options(LDSConfig(), section="Judging")
def command(
    name: str,
    data: str | None,
    out: str | None,
    packed: str | None,
    timesteps: str,
    markdown: str | None,
    **_: Any,
) -> None:
    """Print the LDS of transformed scores, of the largest scores and of the rest.

    NAME is a benchmark. Indexes that `creditline benchmark` left in its folder are used. Interrupt
    it at any time; the same command continues.
    """
    from creditline_research.studies.score_run import study_benchmark
    from creditline_research.tables.scores import score_tables

    case, folder = files_and_folder(name, packed, out)
    results = study_benchmark(
        case,
        folder,
        data=data,
        timesteps=numbers(timesteps),
        runtime=runtime(),
        config=override(LDSConfig(), given_settings(LDSConfig())),
        say=echo_error,
    )
    write_tables(score_tables(results), markdown)
