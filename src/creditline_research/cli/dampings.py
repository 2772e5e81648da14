"""`creditline research dampings`."""

from __future__ import annotations

from typing import Any

import click

from creditline.bounds import COUNT
from creditline.cli.benchmark import numbers
from creditline.cli.options import NumberType, given_settings, settings_options
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


@click.command(name="dampings", cls=SectionedCommand)
@benchmark_options
@click.option(
    "--ensemble", type=NumberType(COUNT), default=1, show_default=True, help="models of an ensemble"
)
@executor_options
@settings_options(LDSConfig(), section="Judging")
def command(
    name: str,
    data: str | None,
    out: str | None,
    packed: str | None,
    timesteps: str,
    ensemble: int,
    markdown: str | None,
    **_: Any,
) -> None:
    """Print the LDS of every method at every damping of the grid.

    NAME is a benchmark. Results that `creditline benchmark` left in its folder are used.
    """
    from creditline.benchmarks.page import by_queries
    from creditline.benchmarks.run import run
    from creditline_research.tables.dampings import damping_table

    case, folder = files_and_folder(name, packed, out)
    results = run(
        case,
        folder,
        data=data,
        timesteps=numbers(timesteps),
        ensemble=ensemble,
        runtime=runtime(),
        config=override(LDSConfig(), given_settings(LDSConfig())),
        say=echo_error,
    )
    parts = by_queries((result, result.comparison) for result in results)
    tables = [
        damping_table(queries, [(r.timesteps, r.models, part) for r, part in judged])
        for queries, judged in parts.items()
    ]
    write_tables("\n\n".join(table for table in tables if table), markdown)
