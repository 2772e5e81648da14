"""`creditline search`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from creditline.cli import models
from creditline.cli.index import EVERY, as_asked
from creditline.cli.options import settings_options
from creditline.cli.regions import parse_regions, region_options
from creditline.cli.sections import SectionedCommand
from creditline.cli.table import table
from creditline.cli.trace import FIXED
from creditline.errors import SettingsError
from creditline.files import write_file


@click.command(name="search", cls=SectionedCommand)
@click.argument("index")
@click.argument("pictures", nargs=-1, required=True, metavar="PICTURE...")
@click.option("--top", type=int, default=20, show_default=True, help="training images for each")
@click.option("--opponents", is_flag=True, help="the other end of the ranking")
@click.option("--approximate", is_flag=True, help="through a vector index, made on first use")
@click.option("--csv", metavar="FILE", help="write CSV")
@click.option("--overwrite", is_flag=True, help="replace a file that exists")
@click.option("--method", help="another method on the same index  [default: the index's own]")
@region_options
@models.indexed_options
@settings_options(*EVERY, section="Method", leave_out=FIXED, default="")
def command(
    index: str,
    pictures: tuple[str, ...],
    top: int,
    opponents: bool,
    approximate: bool,
    csv: str | None,
    overwrite: bool,
    method: str | None,
    regions: tuple[str, ...],
    masks: tuple[str, ...],
    paths: tuple[str, ...],
    **_: Any,
) -> None:
    """Only the training images in INDEX that each PICTURE owes most to.

    Quicker than `creditline trace` where there are very many: no totals, no errors, no report.
    """
    region = parse_regions(regions, masks)
    if csv is not None and Path(csv).exists() and not overwrite:
        raise SettingsError(f"--csv {csv} exists. Choose another name or give --overwrite.")
    opened = models.opened(index, paths)
    opened = as_asked(opened, method)
    found = opened.search(
        list(pictures), top=top, opponents=opponents, approximate=approximate, region=region
    )
    frame = found.to_pandas()
    for name, hits in frame.groupby("query", sort=False):
        rows = [
            [str(hit.rank), hit.name, hit.contributor or "-", f"{hit.score:+.4g}"]
            for hit in hits.itertuples()
        ]
        click.echo(found.names[int(name)])
        click.echo(table(["", "image", "contributor", "score"], rows, right=[0, 3], indent=2))
    if found.expected_recall is not None:
        click.echo(
            f"Approximate: {found.expected_recall:.1%} of the exact top 20 were found for training "
            "images as queries. Scores are exact."
        )
    if csv is not None:
        write_file(csv, lambda path: frame.to_csv(path, index=False), overwrite=overwrite)
        click.echo(f"wrote {csv}")
