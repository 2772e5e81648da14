"""`creditline remove`."""

from __future__ import annotations

import click


@click.command(name="remove")
@click.argument("index")
@click.argument("names", nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--purge", is_flag=True, help="leave nothing of them in any file; takes as long as a copy"
)
def command(index: str, names: tuple[str, ...], purge: bool) -> None:
    """Take each IMAGE, a name as a trace shows it or an id, out of INDEX, without starting over.

    Scores become those of an index built without them. The model is still one that was trained on
    them: to know what it would be without, train it again.
    """
    from creditline import api

    opened = api.open_index(index)
    after = opened.remove(names, purge=purge)
    click.echo(f"{after.path}: {opened.n - after.n:,} removed, now {after.n:,} images")
