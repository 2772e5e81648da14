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
    echo_error,
    subject_and_folder,
    subject_options,
    write_tables,
)
from creditline_research.studies.curvature_dampings import CurvatureStudy


@click.command(name="curvature", cls=SectionedCommand)
@subject_options
@settings_options(LDSConfig(), section="Judging")
@settings_options(CurvatureStudy(), section="Dampings")
def command(timesteps: str, markdown: str | None, **options: Any) -> None:
    """Judge EK-FAC, TRAK, D-TRAK and their sum at every damping, by explicit gradients.

    NAME is a benchmark. Without one, name a model, its training images, folders of queries and the
    ground truth of `creditline evaluate retrain`. The last rows are differences between the
    methods' own settings, on equal resamples. Other settings of the sum are in the file of results,
    which `creditline research left-out` reads.
    """
    from creditline_research.studies.curvature_dampings import compare_dampings
    from creditline_research.tables.curvature_dampings import curvature_table

    subject, folder = subject_and_folder(**options)
    results = compare_dampings(
        subject,
        folder / "dampings",
        settings=override(CurvatureStudy(), given_settings(CurvatureStudy())),
        timesteps=numbers(timesteps),
        runtime=runtime(),
        config=override(LDSConfig(), given_settings(LDSConfig())),
        say=echo_error,
    )
    write_tables(curvature_table(results.values()), markdown)
    for path in results:
        echo_error(f"wrote {path}")
