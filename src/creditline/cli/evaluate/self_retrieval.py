"""`creditline evaluate self-retrieval`."""

from __future__ import annotations

from statistics import median
from typing import Any

import click

from creditline.cli import images, models
from creditline.cli.console import echo
from creditline.cli.options import given_settings, settings_options
from creditline.cli.runtime import executor_options, runtime
from creditline.cli.sections import SectionedCommand
from creditline.cli.table import table
from creditline.evaluation.self_retrieval import (
    RetrievalResult,
    SelfRetrievalConfig,
    check_self_retrieval,
)
from creditline.settings import override


@click.command(name="self-retrieval", cls=SectionedCommand)
@click.argument("model")
@click.argument("data")
@click.option("--out", required=True, help="folder of the indexes; an interrupted check continues")
@executor_options
@models.parts_options
@images.image_options
@settings_options(SelfRetrievalConfig(), section="Check")
def command(model: str, data: str, out: str, **_: Any) -> None:
    """Are training images of DATA, used as queries, their own top proponents?"""
    settings = override(SelfRetrievalConfig(), given_settings(SelfRetrievalConfig()))
    denoiser = models.load(model)
    training_images = images.load(data, check_shape=denoiser.check_shape)
    results = check_self_retrieval(denoiser, training_images, out, settings, runtime=runtime())
    header = ["method", "own top proponent", "95 % interval", "duplicates in top 3", "median rank"]
    echo(table(header, map(_row, results), right=range(1, 5)))


def _row(result: RetrievalResult) -> list[str]:
    low, high = result.interval
    ranks = result.duplicate_ranks
    return [
        result.method,
        f"{result.first}/{result.queries} = {result.rate:.1%}",
        f"{low:.1%} to {high:.1%}",
        f"{result.duplicates_in_top_3}/{len(ranks)}" if ranks else "-",
        f"{median(ranks):g}" if ranks else "-",
    ]
