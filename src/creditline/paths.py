"""Paths inside folders of ours, whose names may come from a stranger's file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from creditline.errors import CreditlineError


def inside(folder: Path, *names: str) -> Path:
    """Join names to a folder.

    Raises:
        CreditlineError: if the result is outside the folder, by its name or by a link.
    """
    path = folder.joinpath(*names)
    if not is_inside(folder, path):
        raise CreditlineError(
            f"{os.path.join(*names)!r} leads out of {folder}, so it is not used. The folder was "
            "damaged, or made to do harm: do not use it."
        )
    return path


def is_inside(folder: Path, path: Path) -> bool:
    """Whether a path is in a folder, once all links are followed."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of links, a zero byte
        return False


def require_no_way_out(folder: Path) -> None:
    """Refuse to write to a folder with links that lead out of it.

    Raises:
        CreditlineError: naming the link.
    """
    for entry in entries(folder):
        if entry.is_symlink() and not is_inside(folder, Path(entry.path)):
            raise CreditlineError(
                f"{entry.path} is a link that leads out of {folder}, so nothing is written there. "
                "Replace it by what it leads to, if you trust the folder."
            )


def entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield everything below a folder; links are not followed, and vanished folders are empty."""
    try:
        with os.scandir(folder) as listed:
            for entry in listed:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    yield from entries(Path(entry.path))
    except FileNotFoundError:
        return
