"""`creditline evaluate reliability`."""

from __future__ import annotations

from statistics import median
from typing import Any

import click

from creditline.cli import models
from creditline.cli.console import echo
from creditline.cli.index import EVERY, FIXED, configured
from creditline.cli.options import given_settings, settings_options
from creditline.cli.sections import SectionedCommand
from creditline.cli.table import table
from creditline.evaluation.reliability import Reliability, measure_reliability


@click.command(name="reliability", cls=SectionedCommand)
@click.argument("index")
@click.argument("queries", nargs=-1, required=True)
@click.option(
    "--method", "names", multiple=True, help="a method on the same index; repeat for several"
)
@click.option("--top", default=10, show_default=True, help="top proponents per query")
@models.indexed_options
@settings_options(*EVERY, section="Method", leave_out=FIXED, default="")
def command(
    index: str,
    queries: tuple[str, ...],
    names: tuple[str, ...],
    top: int,
    paths: tuple[str, ...],
    **_: Any,
) -> None:
    """How well do the scores of QUERIES agree with those of fresh noise?"""
    opened = models.open_index(index, paths)
    selected = [opened.using(name).method for name in names] or [opened.method]
    methods = [configured(method, given_settings(*EVERY)) for method in selected]
    results = list(measure_reliability(opened, list(queries), methods, top=top))
    header = [
        "method",
        "queries",
        "reliability",
        "above noise",
        f"of top {top}",
        "silent",
        "agree",
    ]
    echo(table(header, map(_row, results), right=range(1, 7)))
    echo(
        "reliability: expected correlation with the scores of fresh noise, median over queries. "
        "above noise: scores\nmore than 3 standard errors from 0. silent: queries without a "
        "proponent above the noise. agree: share of the\nscores above the noise of one half that "
        "have the same sign in the other half."
    )


def _row(result: Reliability) -> list[str]:
    interval = result.interval
    agreement = "-"
    if interval is not None:
        low, high = interval
        agreement = f"{result.rate:.1%} ({low:.1%} to {high:.1%})"
    return [
        result.method,
        str(result.queries),
        f"{median(result.per_query):.2f}",
        f"{result.above:.0%}",
        f"{result.top_above:.0%}",
        str(result.silent),
        agreement,
    ]
