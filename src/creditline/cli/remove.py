"""`creditline remove`."""

from __future__ import annotations

import click

from creditline.cli.console import echo


@click.command(name="remove")
@click.argument("index")
@click.argument("names", nargs=-1, required=True, metavar="IMAGE...")
@click.option("--purge", is_flag=True, help="delete them from every file; takes as long as a copy")
def command(index: str, names: tuple[str, ...], purge: bool) -> None:
    """Remove each IMAGE (a name or an id, as in a trace) from INDEX without rebuilding it.

    Scores become those of an index built without them. The model is unchanged: to measure the
    effect of removal on the model, retrain it.
    """
    from creditline import api
    from creditline.cli.models import existing
    from creditline.lock import locked

    with locked(existing(index)):
        opened = api.open_index(index)
        after = opened.remove(names, purge=purge)
    echo(f"{after.path}: {opened.n - after.n:,} removed, now {after.n:,} images")
