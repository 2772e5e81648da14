"""One writer for each folder: a lock that ends with its process.

The lock is one of the operating system (flock) on a small file in the folder. The system releases
it when its process ends, however that happens. A second file tells others who writes. Readers ask
for neither. Where a file system has no such locks, that second file is the lock, and that of a
process which has ended on the same machine is taken over.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from creditline.errors import AccessError, CreditlineError, LockedError
from creditline.files import make_folder
from creditline.leftovers import HOLDER, LOCK
from creditline.owner import Owner, aside_prefix
from creditline.remedy import DENIED

PATIENCE = 0.5
"""Seconds to wait for a lock that is being released."""
POLL = 0.02
WITHOUT_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)

_held: set[tuple[Path, int, int]] = set()
"""Folders that are locked, with the process and thread that hold them: a fork holds none."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Be the only writer of a folder; it is made if it does not exist.

    A thread may lock a folder again that it has locked already.

    Raises:
        LockedError: if another process or thread writes to the folder, naming it.
        AccessError: if this user may not write there.
    """
    key = folder.resolve(), os.getpid(), threading.get_ident()
    if key in _held:
        yield
        return
    new_folders = _make(folder)
    try:
        release = _acquire(folder)
        _held.add(key)
        try:
            yield
        finally:
            _held.discard(key)
            release()
    finally:
        for path in new_folders:
            with suppress(OSError):  # not empty
                path.rmdir()


@contextmanager
def locked_if_free(folder: Path) -> Iterator[bool]:
    """Lock a folder if that is possible now; whether it is locked."""
    with ExitStack() as stack:
        is_locked = True
        try:
            stack.enter_context(locked(folder))
        except CreditlineError:
            is_locked = False
        yield is_locked


def _make(folder: Path) -> list[Path]:
    """Make a folder; those that were made, innermost first."""
    try:
        return make_folder(folder)
    except OSError as error:
        raise _denied(folder, error) from error


def _acquire(folder: Path) -> Callable[[], None]:
    """Take the lock; returns what releases it."""
    path = folder / LOCK
    # Every user who may write to the folder may take it over from a process that was killed.
    lock = FileLock(path, mode=0o666, fallback_to_soft=False)
    try:
        lock.acquire(timeout=PATIENCE, poll_interval=POLL)
    except Timeout:
        raise _busy(folder) from None
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise _denied(folder, error) from error
        return _acquire_by_record(folder)

    def release() -> None:
        try:
            (folder / HOLDER).unlink(missing_ok=True)
            path.unlink(missing_ok=True)  # whoever waits for it sees that it has no name any more
        finally:
            lock.release()

    try:
        _write_holder(folder)
    except BaseException as error:
        lock.release()
        if isinstance(error, OSError):
            raise _denied(folder, error) from error
        raise
    return release


def _acquire_by_record(folder: Path) -> Callable[[], None]:
    """Take the lock of a file system without locks."""
    holder = _holder(folder)
    if holder is not None and not holder.is_gone:
        raise _busy(folder)
    if holder is not None:
        (folder / HOLDER).unlink(missing_ok=True)
    try:
        with (folder / HOLDER).open("x", encoding="utf-8") as file:
            json.dump(Owner.current().to_json(), file)
    except FileExistsError:
        raise _busy(folder) from None
    return lambda: (folder / HOLDER).unlink(missing_ok=True)


def _write_holder(folder: Path) -> None:
    draft = folder / f"{aside_prefix()}{secrets.token_hex(4)}"
    try:
        with draft.open("x", encoding="utf-8") as file:
            json.dump(Owner.current().to_json(), file)
        os.replace(draft, folder / HOLDER)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise


def _holder(folder: Path) -> Owner | None:
    """Who says to write; None if nobody does, or not readably."""
    try:
        with (folder / HOLDER).open(encoding="utf-8") as file:
            return Owner.from_json(json.loads(file.read(10_000)))
    except (OSError, ValueError, RecursionError):
        return None


def _busy(folder: Path) -> LockedError:
    holder = _holder(folder)
    return LockedError(
        f"{folder} is being written by {holder or 'another process'}. Wait until that has "
        "finished, or end it; then run this again. Nothing was changed."
    )


def _denied(folder: Path, error: OSError) -> CreditlineError:
    if error.errno not in DENIED:
        return AccessError(f"{folder} cannot be written to: {error.strerror or error}.")
    return AccessError(
        f"{folder} cannot be written to: {error.strerror}. Ask its owner for the permission to "
        "write, or name a folder of your own (a copy, where it exists). Nothing was changed."
    )
