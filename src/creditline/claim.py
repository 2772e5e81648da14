"""Claiming a folder: the place of one piece of work, which is continued, done, refused or replaced.

A replacement is one step for whoever looks: the new manifest takes the place of the old one, and
says that the folder is being cleared. A process that is killed later is continued by the same call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from creditline.errors import CreditlineError
from creditline.leftovers import HOLDER, LOCK, clear_leftovers, remove
from creditline.lock import locked, locked_if_free
from creditline.manifest import COMMANDS, NAME, Manifest
from creditline.owner import ASIDE
from creditline.paths import require_no_way_out

ATTEMPTS = 5
"""Times that a folder is emptied while a reader still stores results in it."""


@contextmanager
def claim(
    manifest: Manifest, folder: Path, overwrite: bool = False, temporary: Sequence[str] = ()
) -> Iterator[bool]:
    """Make `folder` the place of a manifest's work, new or continued, with its lock.

    What is complete already is locked only if that is possible: others may not write there, or
    another command may be changing it.

    Args:
        manifest: of what is about to be made.
        folder: where.
        overwrite: replace what was made from another request.
        temporary: names of files and folders that only unfinished work needs; a process that was
            killed when it had finished may have left them.

    Yields:
        Whether the work is already complete.

    Raises:
        IndexMismatchError: if the folder holds the same kind of thing from another request.
        LockedError: if another process is making it.
        AccessError: if this user may not write there.
        CreditlineError: if the folder holds anything else.
    """
    if _is_complete(manifest, folder):
        with locked_if_free(folder) as is_locked:
            if is_locked and (done := _is_complete(manifest, folder)):
                _tidy(folder)
                for name in temporary:
                    remove(folder / name)
            if not is_locked or done:
                yield True
                return
    _require_ours(manifest, folder)
    with locked(folder):
        yield _start(manifest, folder, overwrite)


def _is_complete(manifest: Manifest, folder: Path) -> bool:
    if not (folder / NAME).is_file():
        return False
    existing = Manifest.read(folder, manifest.kind, clearing=True)
    return existing.status == "complete" and not existing.differences(manifest.request)


def _require_ours(manifest: Manifest, folder: Path) -> None:
    """Refuse a folder of somebody else, before anything is written to it."""
    if folder.exists() and not folder.is_dir():
        raise CreditlineError(f"--out {folder} is a file. Name a folder that does not exist yet.")
    if (folder / NAME).is_file() or not folder.is_dir():
        return
    if any(not path.name.startswith(ASIDE) for path in folder.iterdir()):
        raise CreditlineError(
            f"--out {folder} exists and was not written by `creditline "
            f"{COMMANDS[manifest.kind]}`. Name a new folder; nothing was changed."
        )


def _start(manifest: Manifest, folder: Path, overwrite: bool) -> bool:
    """Begin or continue the work in a folder that is locked; whether it is complete."""
    _require_ours(manifest, folder)
    if not (folder / NAME).is_file():
        _tidy(folder)
    else:
        existing = Manifest.read(folder, manifest.kind, clearing=True)
        if not overwrite:
            existing.require_same(manifest.request, folder)
        is_same = not existing.differences(manifest.request)
        _tidy(folder)
        if is_same and existing.status != "clearing":
            return existing.status == "complete"
        # From here on the folder belongs to the new request, whatever is still in it.
        replace(manifest, status="clearing").write(folder)
        _clear(folder)
    manifest.write(folder)
    return False


def _tidy(folder: Path) -> None:
    require_no_way_out(folder)
    clear_leftovers(folder)


def _clear(folder: Path) -> None:
    """Delete everything in a folder but its manifest and lock."""
    for attempt in range(ATTEMPTS):
        try:
            for path in list(folder.iterdir()):
                if path.name not in (NAME, LOCK, HOLDER):
                    remove(path)
        except OSError as error:
            if attempt == ATTEMPTS - 1:
                raise CreditlineError(
                    f"{folder} could not be emptied ({error}). Nothing of it is used any more: run "
                    "the same command again."
                ) from error
        else:
            return
