"""`creditline trace`."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from creditline.cli import models
from creditline.cli.index import EVERY, as_asked
from creditline.cli.options import leaves, settings_options
from creditline.cli.regions import chosen_region, region_options
from creditline.cli.sections import SectionedCommand
from creditline.cli.table import WIDTH, table
from creditline.errors import SettingsError
from creditline.gradients.spec import FeatureSpec
from creditline.totals import Total
from creditline.trace import FLOOR, Hit, QueryTrace, Trace

# What an index fixes; everything else can change from query to query.
FIXED = [*leaves(FeatureSpec()), "encoder"]
EXPORTS = ("html", "csv", "parquet", "json")
SHOWN, SHOWN_OPPONENTS = 5, 2
Z = "z: in standard deviations of all training images' scores, from their mean."
NOISE = (
    f"Above noise: by more than {FLOOR:g} times the error that the noise of gradients leaves. "
    "Reliability: expected correlation with the scores of fresh noise."
)


def _exports(function: Any) -> Any:
    for kind in reversed(EXPORTS):
        function = click.option(f"--{kind}", metavar="FILE", help=f"write {kind.upper()}")(function)
    return function


@click.command(name="trace", cls=SectionedCommand)
@click.argument("index")
@click.argument("pictures", nargs=-1, required=True, metavar="PICTURE...")
@click.option("--top", type=int, default=20, show_default=True, help="training images to keep")
@_exports
@click.option("--overwrite", is_flag=True, help="replace files that exist")
@click.option(
    "--keep/--no-keep",
    default=True,
    help="keep preconditioned features beside the index, so that tracing is quick  [default: keep]",
)
@click.option("--method", help="another method on the same index  [default: the index's own]")
@click.option("--prompt", "prompts", multiple=True, help="what PICTURE was made from, one or each")
@region_options
@models.indexed_options
@settings_options(*EVERY, section="Method", leave_out=FIXED, default="")
def command(
    index: str,
    pictures: tuple[str, ...],
    top: int,
    overwrite: bool,
    keep: bool,
    method: str | None,
    prompts: tuple[str, ...],
    regions: tuple[str, ...],
    masks: tuple[str, ...],
    paths: tuple[str, ...],
    **values: Any,
) -> None:
    """Trace each PICTURE (a file or a folder of them) to the training images in INDEX.

    Settings that are not given are the index's own.
    """
    region = chosen_region(regions, masks)
    targets = {kind: values[kind] for kind in EXPORTS if values[kind] is not None}
    _require_free(targets, overwrite)
    opened = models.opened(index, paths, keep)
    opened = as_asked(opened, method)
    found = opened.trace(list(pictures), top=top, prompts=prompts or None, region=region)
    for query in found:
        click.echo(shown(query, found.method.causal) + "\n")
    if len(found) > 1:
        click.echo(overall(found))
    noise = f" {NOISE}" if any(query.error is not None for query in found) else ""
    click.echo(textwrap.fill(f"{found.method.meaning} {Z}{noise}", WIDTH))
    _export(found, targets, overwrite)


def shown(query: QueryTrace, causal: bool = True) -> str:
    """The two ends of one picture's ranking and its totals, as tables."""
    parts = [_ranking(query, causal)]
    for column, totals in query.totals.items():
        parts.append(_totals(column, totals, f"in top {len(query.proponents)}"))
    tables = "\n\n".join(part for part in parts if part)
    return f"{query.name} ({_described(query)})\n{tables}"


def overall(found: Trace) -> str:
    """Totals over all pictures, as tables; empty where no group is known."""
    shown = f"in top {len(found[0].proponents)} each"
    parts = [_totals(column, found.overall(column), shown) for column in found.columns]
    known = "\n\n".join(part for part in parts if part)
    return f"All {len(found)} pictures (shares averaged over them)\n{known}\n" if known else ""


def _ranking(query: QueryTrace, causal: bool) -> str:
    """The strongest proponents; of the opponents only some, which exports and reports have all."""
    first, opposite = ("proponent", "opponent") if causal else ("most alike", "least alike")
    last = query.opponents[:SHOWN_OPPONENTS]
    rows = list(map(_row, query.proponents[:SHOWN]))
    if last:
        rows += [["", opposite, "", "", "", ""], *map(_row, last)]
    header = ["", first, "contributor", "score", "z", ""]
    hits = (*query.proponents, *last)
    if not any(hit.contributor for hit in hits):
        header, *rows = ([*row[:2], *row[3:]] for row in [header, *rows])
    return table(header, rows, right=[0, len(header) - 3, len(header) - 2], indent=2)


def _row(hit: Hit) -> list[str]:
    noise = "within the noise" if hit.above is False else ""
    who = hit.contributor or "-"
    return [str(hit.rank), hit.name, who, f"{hit.score:+.4g}", f"{hit.z:+.1f}", noise]


def _totals(column: str, totals: Sequence[Total], shown: str) -> str:
    """One column's totals; empty where every group is unknown."""
    if all(total.name is None for total in totals):
        return ""
    rows = [
        [t.name or "(unknown)", f"{t.n:,}", f"{t.score:+.3g}", _share(t), str(t.top)]
        for t in totals[:SHOWN]
    ]
    header = [column, "images", "sum of scores", "share of credit", shown]
    more = f"\n  ... and {len(totals) - SHOWN} more" if len(totals) > SHOWN else ""
    return table(header, rows, right=range(1, 5), indent=2) + more


def _share(total: Total) -> str:
    if total.share_interval is None:
        return f"{total.share:.0%}"
    low, high = total.share_interval
    return f"{total.share:.0%} ({low:.0%} to {high:.0%})"


def _described(query: QueryTrace) -> str:
    seed = f"seed {query.details['seed']}, " if "seed" in query.details else ""
    part = f"{query.region}; " if query.region else ""
    text = f"{part}{seed}{query.n_positive:,} training images score above 0"
    if query.error is None:
        return text
    noise = f"error {query.error:.2g}, reliability {query.reliability:.2f}"
    return f"{text}, {query.n_above:,} above noise; {noise}"


def _require_free(targets: Mapping[str, str], overwrite: bool) -> None:
    """Refuse before the work what could not be written after it."""
    for kind, path in targets.items():
        if Path(path).is_dir():
            raise SettingsError(f"--{kind} {path} is a folder. Name a file in it.")
        if Path(path).exists() and not overwrite:
            raise SettingsError(
                f"--{kind} {path} exists and was left as it is. Choose another name or give "
                "--overwrite."
            )


def _export(found: Trace, targets: Mapping[str, str], overwrite: bool) -> None:
    for kind, path in targets.items():
        written = getattr(found, f"to_{kind}")(path, overwrite=overwrite)
        click.echo(f"wrote {written}")
