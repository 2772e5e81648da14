"""`creditline trace`."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from creditline.bounds import COUNT
from creditline.cli import models
from creditline.cli.console import echo
from creditline.cli.index import EVERY, FIXED, choose_method
from creditline.cli.options import NumberType, settings_options
from creditline.cli.regions import parse_regions, region_options
from creditline.cli.sections import SectionedCommand
from creditline.cli.table import WIDTH, table
from creditline.credit.totals import Total, chance_intervals
from creditline.errors import SettingsError
from creditline.records import NOISE_FLOOR, Hit, QueryTrace
from creditline.trace import EXPORTS, Trace
from creditline.visible import visible

PROPONENTS, OPPONENTS, GROUPS = 5, 2, 5  # rows that are printed
Z = "z: distance from the mean score of all training images, in standard deviations."
NOISE = (
    f"Above noise: more than {NOISE_FLOOR:g} standard errors, from the noise of the gradients. "
    "Reliability: expected correlation with scores of fresh noise."
)


def _export_options(function: Any) -> Any:
    for kind in reversed([*EXPORTS]):
        function = click.option(f"--{kind}", metavar="FILE", help=f"write {kind.upper()}")(function)
    return function


@click.command(name="trace", cls=SectionedCommand)
@click.argument("index")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--top",
    type=NumberType(COUNT),
    default=20,
    show_default=True,
    help="training images at each end of a list",
)
@_export_options
@click.option("--overwrite", is_flag=True, help="replace files that exist")
@click.option(
    "--keep/--no-keep",
    default=True,
    help="cache factors beside the index, which makes later traces fast  [default: keep]",
)
@click.option("--method", help="another method on the same index  [default: the index's own]")
@click.option("--prompt", "prompts", multiple=True, help="prompt of IMAGE: one, or one each")
@click.option(
    "--removals",
    metavar="DIR",
    help="results of `evaluate counterfactual` for these images, for the report",
)
@region_options
@models.indexed_options
@settings_options(*EVERY, section="Method", leave_out=FIXED, default="")
def command(
    index: str,
    images: tuple[str, ...],
    top: int,
    overwrite: bool,
    keep: bool,
    method: str | None,
    prompts: tuple[str, ...],
    regions: tuple[str, ...],
    masks: tuple[str, ...],
    paths: tuple[str, ...],
    removals: str | None,
    **values: Any,
) -> None:
    """Trace each query IMAGE (a file or a folder) to the training images in INDEX.

    Settings that are not given are those of the index.
    """
    region = parse_regions(regions, masks)
    targets = {kind: values[kind] for kind in EXPORTS if values[kind] is not None}
    _require_free(targets, overwrite)
    from creditline.evaluation.counterfactual.images import add_removals, read_removals

    changes = None if removals is None else read_removals(removals)
    opened = choose_method(models.open_index(index, paths, keep), method)
    trace = opened.trace(list(images), top=top, prompts=prompts or None, region=region)
    trace = trace if changes is None else add_removals(trace, changes)
    # Files first: a closed pipe ends the printing, and must not cost the results.
    written = [EXPORTS[kind](trace, path, overwrite=overwrite) for kind, path in targets.items()]
    for query in trace:
        echo(format_query(query, trace.method.causal) + "\n")
    if len(trace) > 1:
        echo(format_overall(trace))
    noise = f" {NOISE}" if any(query.error is not None for query in trace) else ""
    echo(textwrap.fill(f"{trace.method.meaning} {Z}{noise}", WIDTH))
    for path in written:
        echo(f"wrote {path}")


def format_query(query: QueryTrace, causal: bool = True) -> str:
    """Format the two ends of one query's ranking and its totals as tables."""
    parts = [_format_ranking(query, causal)]
    for column, totals in query.totals.items():
        parts.append(_format_totals(column, totals, f"in top {len(query.proponents)}"))
    tables = "\n\n".join(part for part in parts if part)
    title = visible(f"{query.name} ({_summary(query)})")
    return f"{title}\n{tables}"


def format_overall(trace: Trace) -> str:
    """Format the totals over all query images as tables; empty where no group is known."""
    top = f"in top {len(trace[0].proponents)} each"
    parts = [_format_totals(column, trace.overall(column), top) for column in trace.columns]
    tables = "\n\n".join(part for part in parts if part)
    return f"All {len(trace)} query images (mean of their shares)\n{tables}\n" if tables else ""


def _format_ranking(query: QueryTrace, causal: bool) -> str:
    """Format the first proponents and a few opponents; exports and reports have all of them."""
    first, last = ("proponent", "opponent") if causal else ("most similar", "least similar")
    opponents = query.opponents[:OPPONENTS]
    rows = list(map(_hit_row, query.proponents[:PROPONENTS]))
    if opponents:
        rows += [["", last, "", "", "", ""], *map(_hit_row, opponents)]
    header = ["", first, "contributor", "score", "z", ""]
    hits = (*query.proponents, *opponents)
    if not any(hit.contributor for hit in hits):
        header, *rows = ([*row[:2], *row[3:]] for row in [header, *rows])
    return table(header, rows, right=[0, len(header) - 3, len(header) - 2], indent=2)


def _hit_row(hit: Hit) -> list[str]:
    noise = "within the noise" if hit.is_above_noise is False else ""
    contributor = hit.contributor or "-"
    return [str(hit.rank), hit.name, contributor, f"{hit.score:+.4g}", f"{hit.z:+.1f}", noise]


def _format_totals(column: str, totals: Sequence[Total], top: str) -> str:
    """Format the totals of one column; empty where every group is unknown."""
    if all(total.name is None for total in totals):
        return ""
    rows = [
        [
            total.name or "(unknown)",
            f"{total.n:,}",
            f"{total.score:+.3g}",
            _share(total),
            "" if chance is None else _between(chance),
            str(total.top),
        ]
        for total, chance in zip(totals[:GROUPS], chance_intervals(totals), strict=False)
    ]
    header = [column, "images", "sum of scores", "share of credit", "by chance", top]
    more = f"\n  ... and {len(totals) - GROUPS} more" if len(totals) > GROUPS else ""
    return table(header, rows, right=range(1, 6), indent=2) + more


def _share(total: Total) -> str:
    if total.share_interval is None:
        return f"{total.share:.0%}"
    return f"{total.share:.0%} ({_between(total.share_interval)})"


def _between(interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{low:.0%} to {high:.0%}"


def _summary(query: QueryTrace) -> str:
    seed = f"seed {query.details['seed']}, " if "seed" in query.details else ""
    region = f"{query.region}; " if query.region else ""
    text = f"{region}{seed}{query.n_positive:,} training images score above 0"
    if query.error is None:
        return text
    noise = f"error {query.error:.2g}, reliability {query.reliability:.2f}"
    return f"{text}, {query.n_above_noise:,} above noise; {noise}"


def _require_free(targets: Mapping[str, str], overwrite: bool) -> None:
    """Refuse targets that cannot be written, before the work."""
    kinds: dict[str, str] = {}
    for kind, path in targets.items():
        other = kinds.setdefault(os.path.realpath(path), kind)
        if other != kind:
            raise SettingsError(
                f"--{other} and --{kind} both name {path}. Give each a file of its own."
            )
    for kind, path in targets.items():
        if Path(path).is_dir():
            raise SettingsError(f"--{kind} {path} is a folder. Name a file in it.")
        if Path(path).exists() and not overwrite:
            raise SettingsError(
                f"--{kind} {path} exists and was not changed. Choose another name or give "
                "--overwrite."
            )
