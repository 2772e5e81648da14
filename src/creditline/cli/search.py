"""`creditline search`."""

from __future__ import annotations

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
from creditline.cli.table import table
from creditline.csv_table import write_csv
from creditline.errors import SettingsError
from creditline.files import write_file
from creditline.visible import visible


@click.command(name="search", cls=SectionedCommand)
@click.argument("index")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--top", type=NumberType(COUNT), default=20, show_default=True, help="training images for each"
)
@click.option("--opponents", is_flag=True, help="the lowest scores instead of the highest")
@click.option("--approximate", is_flag=True, help="use a vector index, built on first use")
@click.option("--csv", metavar="FILE", help="write CSV")
@click.option("--overwrite", is_flag=True, help="replace a file that exists")
@click.option("--method", help="another method on the same index  [default: the index's own]")
@region_options
@models.indexed_options
@settings_options(*EVERY, section="Method", leave_out=FIXED, default="")
def command(
    index: str,
    images: tuple[str, ...],
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
    """Search INDEX for the training images that each query IMAGE owes most to.

    Faster than `creditline trace` on large indexes: no totals, no errors, no report.
    """
    region = parse_regions(regions, masks)
    if csv is not None and Path(csv).exists() and not overwrite:
        raise SettingsError(f"--csv {csv} exists. Choose another name or give --overwrite.")
    opened = models.open_index(index, paths)
    opened = choose_method(opened, method)
    result = opened.search(
        list(images), top=top, opponents=opponents, approximate=approximate, region=region
    )
    frame = result.to_pandas()
    if csv is not None:  # first, as the printing may end early
        write_file(csv, lambda path: write_csv(frame, path), overwrite=overwrite)
    for name, hits in frame.groupby("query", sort=False):
        rows = [
            [str(hit.rank), hit.name, hit.contributor or "-", f"{hit.score:+.4g}"]
            for hit in hits.itertuples()
        ]
        echo(visible(result.names[int(name)]))
        echo(table(["", "image", "contributor", "score"], rows, right=[0, 3], indent=2))
    if result.expected_recall is not None:
        echo(
            f"Approximate: finds {result.expected_recall:.1%} of the exact top 20, measured with "
            "training images as queries."
        )
    if csv is not None:
        echo(f"wrote {csv}")
