"""`creditline research layer-weights`."""

from __future__ import annotations

from typing import Any

import click

from creditline.cli.benchmark import numbers
from creditline.cli.options import given_settings, settings_options
from creditline.cli.runtime import executor_options, runtime
from creditline.cli.sections import SectionedCommand
from creditline.evaluation.lds.config import LDSConfig
from creditline.methods.learned_weights import LearnedWeights
from creditline.settings import override
from creditline_research.cli.benchmarks import (
    echo_error,
    subject_and_folder,
    subject_options,
    write_tables,
)


@click.command(name="layer-weights", cls=SectionedCommand)
@click.option(
    "--base",
    "bases",
    multiple=True,
    default=("ekfac",),
    show_default=True,
    help="a method whose layers are weighted; repeat for several",
)
@subject_options
@executor_options
@settings_options(LDSConfig(), section="Judging")
def command(bases: tuple[str, ...], timesteps: str, markdown: str | None, **options: Any) -> None:
    """Judge methods with learned weights of layers, and without them on the same features.

    NAME is a benchmark. Without one, name a model, its training images, folders of queries and the
    ground truth of `creditline evaluate retrain`. Interrupt it at any time; the same command
    continues.
    """
    from creditline_research.studies.layer_weights import compare_layer_weights
    from creditline_research.tables.layer_weights import layer_weight_table

    subject, folder = subject_and_folder(**options)
    rows = compare_layer_weights(
        subject,
        folder / "layer-weights",
        [override(LearnedWeights(), {"base": base}) for base in bases],
        timesteps=numbers(timesteps),
        runtime=runtime(),
        config=override(LDSConfig(), given_settings(LDSConfig())),
        say=echo_error,
    )
    write_tables(layer_weight_table(rows), markdown)
