"""`creditline research projections`."""

from __future__ import annotations

from typing import Any

import click

from creditline.cli.benchmark import numbers
from creditline.cli.options import given_settings, settings_options
from creditline.cli.runtime import runtime
from creditline.cli.sections import SectionedCommand
from creditline.evaluation.lds.config import LDSConfig
from creditline.settings import override
from creditline_research.cli.benchmarks import (
    benchmark_options,
    echo_error,
    files_and_folder,
    write_tables,
)
from creditline_research.studies.projections import ProjectionStudy


@click.command(name="projections", cls=SectionedCommand)
@benchmark_options
@settings_options(LDSConfig(), section="Judging")
@settings_options(ProjectionStudy(), section="Projections")
def command(
    name: str,
    data: str | None,
    out: str | None,
    packed: str | None,
    timesteps: str,
    markdown: str | None,
    **_: Any,
) -> None:
    """Judge TRAK and D-TRAK of one model through every kind of projection.

    NAME is a benchmark. The table says how far each projection is from explicit gradients.
    Interrupt it at any time; the same command continues.
    """
    from creditline_research.studies.projection_comparison import compare_projections
    from creditline_research.tables.projections import projection_table

    case, folder = files_and_folder(name, packed, out)
    rows = compare_projections(
        case,
        folder / "projections",
        settings=override(ProjectionStudy(), given_settings(ProjectionStudy())),
        data=data,
        timesteps=numbers(timesteps),
        runtime=runtime(),
        config=override(LDSConfig(), given_settings(LDSConfig())),
        say=echo_error,
    )
    write_tables(projection_table(rows), markdown)
