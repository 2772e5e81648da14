"""Files that are written completely or not at all, and never replace another by accident."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from creditline.errors import SettingsError
from creditline.owner import aside_prefix


def write_file(
    path: str | Path, write: Callable[[Path], object], *, overwrite: bool = False
) -> Path:
    """Write a file aside and move it into place, so that readers never see half of one.

    Args:
        path: target; missing parent folders are made.
        write: receives the temporary path to write to.
        overwrite: replace an existing file.

    Raises:
        SettingsError: if `path` exists and `overwrite` is False, or is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise SettingsError(f"Cannot write the file {path}: it is a folder. Name a file in it.")
    if path.exists() and not overwrite:
        raise SettingsError(
            f"{path} exists and was not changed. Choose another name or ask to overwrite it."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=aside_prefix(), dir=path.parent) as aside:
        draft = Path(aside) / path.name
        write(draft)
        os.replace(draft, path)
    return path
