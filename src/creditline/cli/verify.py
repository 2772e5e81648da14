"""`creditline verify`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import click

from creditline.cli.console import echo
from creditline.cli.table import table
from creditline.units import size

if TYPE_CHECKING:
    from creditline.verification import FileState


@click.command(name="verify")
@click.argument("path", type=click.Path())
def command(path: str) -> None:
    """Check everything in PATH: an index, a run, images, a ground truth, or a trace (JSON).

    Reads every file and compares it with the checksum that was stored with it. Nothing is changed.
    The exit code is 1 if a file is damaged or missing.
    """
    from creditline.verification import verify

    result = verify(path)
    echo(format_states(result.files))
    if result.damaged:
        echo()
        for file in result.damaged:
            echo(file.message)
        raise SystemExit(1)


def format_states(files: Sequence[FileState]) -> str:
    """Format files as a table: one row for each folder's files in the same state."""
    keyed = sorted(files, key=_row)
    rows = []
    for (place, state), group in groupby(keyed, key=_row):
        members = list(group)
        name = members[0].name if len(members) == 1 else f"{place or '.'}/"
        count = "" if len(members) == 1 else f"{len(members):,} files"
        rows.append([name, count, size(sum(file.bytes for file in members)), state])
    return table(["", "", "size", "state"], rows, right=(1, 2))


def _row(file: FileState) -> tuple[str, str]:
    return file.name.rpartition("/")[0], file.state
