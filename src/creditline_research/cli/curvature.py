"""`creditline research curvature`."""

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
from creditline_research.studies.curvature_dampings import CurvatureStudy


@click.command(name="curvature", cls=SectionedCommand)
@benchmark_options
@settings_options(LDSConfig(), section="Judging")
@settings_options(CurvatureStudy(), section="Dampings")
def command(
    name: str,
    data: str | None,
    out: str | None,
    packed: str | None,
    timesteps: str,
    markdown: str | None,
    **_: Any,
) -> None:
    """Judge EK-FAC, TRAK, D-TRAK and their sum at every damping, by explicit gradients.

    NAME is a benchmark. The last rows are differences between the defaults, on equal resamples.
    """
    from creditline_research.studies.curvature_dampings import compare_dampings
    from creditline_research.tables.curvature_dampings import curvature_table

    case, folder = files_and_folder(name, packed, out)
    results = compare_dampings(
        case,
        folder / "dampings",
        settings=override(CurvatureStudy(), given_settings(CurvatureStudy())),
        data=data,
        timesteps=numbers(timesteps),
        runtime=runtime(),
        config=override(LDSConfig(), given_settings(LDSConfig())),
        say=echo_error,
    )
    write_tables(curvature_table(results), markdown)
