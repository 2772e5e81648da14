"""Files that are written completely or not at all, and never replace another by accident."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from creditline.errors import SettingsError
from creditline.leftovers import clear_own
from creditline.owner import aside_prefix

CANNOT_FLUSH = (errno.EINVAL, errno.ENOTSUP, errno.EACCES)
"""Errors of file systems that flush no folders, and of folders that this user may not list."""


def write_file(
    path: str | Path,
    write: Callable[[Path], object],
    *,
    overwrite: bool = False,
    durable: bool = True,
) -> Path:
    """Write a file aside and move it into place, so that readers never see half of one.

    Args:
        path: target; missing parent folders are made.
        write: receives the temporary path to write to.
        overwrite: replace an existing file.
        durable: return only when the file survives a power cut. False for many small files that
            can be computed again.

    Raises:
        SettingsError: if `path` exists and `overwrite` is False, or is a folder; see also
            `make_folder`.
    """
    path = Path(path)
    if path.is_dir():
        raise SettingsError(f"Cannot write the file {path}: it is a folder. Name a file in it.")
    if path.exists() and not overwrite:
        raise SettingsError(
            f"{path} exists and was not changed. Choose another name or ask to overwrite it."
        )
    make_folder(path.parent, durable=durable)
    clear_own(path.parent)
    with tempfile.TemporaryDirectory(prefix=aside_prefix(), dir=path.parent) as aside:
        draft = Path(aside) / path.name
        write(draft)
        use_default_mode(draft)
        if durable:
            flush(draft)
        os.replace(draft, path)
    if durable:
        flush(path.parent)
    return path


def make_folder(folder: Path, *, durable: bool = True) -> list[Path]:
    """Make a folder and those around it, if they do not exist.

    Args:
        folder: to make.
        durable: see `write_file`.

    Returns:
        Those that were made, innermost first.

    Raises:
        SettingsError: if one of them is a file, or a link that leads nowhere.
    """
    if folder.is_dir():
        return []
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise SettingsError(
            f"Nothing can be written in {folder}: {error.filename or folder} is a file, or a link "
            "that leads nowhere. Remove it, or name another place."
        ) from error
    if durable:
        for path in missing:
            flush(path.parent)
    return missing


def flush(path: Path) -> None:
    """Write a file, or the list of a folder's files, from memory to the disk."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in CANNOT_FLUSH:
            raise


def flush_tree(folder: Path) -> None:
    """Flush everything below a folder, and the folder."""
    for place, _, names in os.walk(folder):
        for name in names:
            flush(Path(place) / name)
        flush(Path(place))


def flush_names(folder: Path) -> None:
    """Flush the lists of files of a folder and of all folders below it: what is gone, stays so."""
    for place, *_ in os.walk(folder):
        flush(Path(place))


def use_default_mode(*paths: Path) -> None:
    """Give files the permissions of new files, which some libraries (safetensors) narrow."""
    mode = _default_mode()
    for path in paths:
        if stat.S_IMODE(path.stat().st_mode) != mode:
            path.chmod(mode)


@cache
def _default_mode() -> int:
    """Permissions of a new file; asking for the umask would change it for all threads."""
    with tempfile.TemporaryDirectory() as aside:
        probe = Path(aside) / "mode"
        probe.touch()
        return stat.S_IMODE(probe.stat().st_mode)


def refuse_file(setting: str, folder: str | Path) -> None:
    """Refuse a file where a folder is meant.

    Raises:
        SettingsError: naming the setting and the file.
    """
    if Path(folder).exists() and not Path(folder).is_dir():
        raise SettingsError(
            f"{setting}= (--{setting}) is a folder; got the file {folder}. Name one."
        )
