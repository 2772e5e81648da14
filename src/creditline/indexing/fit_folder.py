"""Where results of fitting are kept: beside the index, or nowhere if it cannot be written to."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from creditline.indexing.factor_cache import PART
from creditline.leftovers import clear_leftovers, scratch_folder
from creditline.notice import notice
from creditline.paths import is_inside

FOLDER = "fitted"
_scratch: dict[Path, tempfile.TemporaryDirectory] = {}
"""Folders for this process, by the folder that each stands for; removed when it ends."""


def fit_folder(index: Path, name: str) -> Path:
    """Return the folder of the results that were fitted to the contents of an index.

    If this user cannot write there, or not read all of it, it is a folder that lasts as long as the
    process. It shows what can be read of the results that are there.

    Args:
        index: folder of the index.
        name: of the contents.
    """
    folder = index / FOLDER / name
    reason = _hindrance(index, folder)
    if reason is None:
        clear_leftovers(folder)
        return folder
    notice(f"{reason}. What is computed here is not kept: the next command computes it again.")
    if folder not in _scratch:
        stand_in(folder)
        if is_inside(index, folder) and os.access(folder, os.R_OK | os.X_OK):
            for path in folder.iterdir():
                if path.suffix != PART and _is_readable(path):
                    (Path(_scratch[folder].name) / path.name).symlink_to(path.resolve())
    return stand_in(folder)


def stand_in(folder: Path) -> Path:
    """Return the folder that stands for another one as long as this process runs."""
    if folder not in _scratch:
        _scratch[folder] = scratch_folder()
    return Path(_scratch[folder].name)


def _hindrance(index: Path, folder: Path) -> str | None:
    """Why results cannot be kept in a folder, as a clause; None if they can."""
    if not is_inside(index, folder):
        return f"{folder} leads out of the index"
    place = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(place, os.R_OK | os.W_OK | os.X_OK):
        return f"You may not write to {place}"
    if place == folder and not all(map(_is_readable, folder.iterdir())):
        return f"You may not read all files in {folder}"
    return None


def _is_readable(path: Path) -> bool:
    """Whether a file, or a folder with all its files, can be read."""
    if not path.is_dir():
        return os.access(path, os.R_OK)
    return os.access(path, os.R_OK | os.X_OK) and all(map(_is_readable, path.iterdir()))
