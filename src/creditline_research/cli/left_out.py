"""`creditline research left-out`."""

from __future__ import annotations

import click

from creditline_research.cli.benchmarks import write_tables


@click.command(name="left-out")
@click.argument("files", nargs=-1, required=True)
@click.option("--markdown", metavar="FILE", help="write the table")
def command(files: tuple[str, ...], markdown: str | None) -> None:
    """Choose settings on all ground truths but one, and judge them on that one, for each.

    FILES are results of `creditline research curvature`, one for each ground truth, at the same
    number of timesteps. A setting is chosen by its LDS relative to the largest of its method.
    """
    from creditline_research.studies.curvature_dampings import DampingResult
    from creditline_research.studies.left_out import leave_one_out
    from creditline_research.tables.left_out import left_out_table, own_settings_table

    rows = leave_one_out([DampingResult.read(path) for path in files])
    write_tables(f"{own_settings_table(rows)}\n\n{left_out_table(rows)}", markdown)
