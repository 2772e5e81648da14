"""Temporary files and folders that killed processes left behind."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from creditline.owner import ASIDE, aside_prefix, is_abandoned
from creditline.paths import entries

LOCK, HOLDER = f"{ASIDE}lock", f"{ASIDE}holder"
"""Files of a folder's lock; see `creditline.lock`."""
ATTEMPTS = 20
MEANWHILE = (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST)
"""Errors of removing a folder that another process removes or writes to."""
_clear_folders: set[Path] = set()
"""Folders that `clear_own` has cleared."""
OLD = 86_400.0
"""Seconds after which what cannot be assigned to a process, or is of another machine, is left."""


def clear_leftovers(folder: Path) -> None:
    """Remove what killed processes left in a folder, never anything of a running one."""
    for entry in list(entries(folder)):
        if not entry.name.startswith(ASIDE) or entry.name in (LOCK, HOLDER):
            continue
        gone = is_abandoned(entry.name)
        with suppress(OSError):  # another process clears as well
            if gone is None:
                gone = time.time() - entry.stat(follow_symlinks=False).st_mtime > OLD
            if gone:
                remove(Path(entry.path))


def clear_own(folder: Path) -> None:
    """Remove what killed processes of Creditline left in a folder that is not Creditline's.

    Only what names a process that has ended is removed, the first time that this process asks, and
    nothing in the folders below.
    """
    if folder in _clear_folders:
        return
    _clear_folders.add(folder)
    with suppress(OSError), os.scandir(folder) as listed:  # it need not be readable
        for entry in listed:
            if entry.name.startswith(ASIDE) and is_abandoned(entry.name):
                with suppress(OSError):  # another user's
                    remove(Path(entry.path))


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """Make a folder of this process in the system's temporary folder.

    Those that killed processes of this user left there, with models and images in them, are
    removed first.
    """
    clear_own(Path(tempfile.gettempdir()))
    return tempfile.TemporaryDirectory(prefix=aside_prefix())


def discard(path: Path) -> None:
    """Remove something that others may be reading, so that none of them sees a part of it.

    Raises:
        OSError: if it cannot be moved aside.
    """
    aside = path.with_name(f"{aside_prefix()}{secrets.token_hex(4)}")
    try:
        os.replace(path, aside)
    except FileNotFoundError:  # another process was as fast
        return
    remove(aside)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with its contents, if it is there.

    Another process may remove it too, or still write to it.

    Raises:
        OSError: if it cannot be removed.
    """
    for attempt in range(ATTEMPTS):
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            if error.errno not in MEANWHILE or attempt == ATTEMPTS - 1:
                raise
        else:
            return
