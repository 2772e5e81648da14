"""Reading a regular file as a whole, within a limit."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from creditline.data.limits import FILE_BYTES, Limit
from creditline.errors import DataError


def read_regular_file(path: Path, name: str, limit: Limit = FILE_BYTES) -> bytes:
    """Read a file that cannot block or have no end: no pipe, device or socket, and no link to one.

    Args:
        path: of the file.
        name: what to call it in an error.
        limit: on its size.

    Raises:
        DataError: if it is missing, unreadable, not a regular file, or too large.
    """
    try:
        _require_regular(os.stat(path), name, limit)
        # The file may have been replaced since: opening must not wait for the writer of a pipe.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(path, flags), "rb") as stream:
            status = os.fstat(stream.fileno())
            _require_regular(status, name, limit)
            return stream.read(status.st_size)
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror}).") from error
    except ValueError as error:  # a null character in the path
        raise DataError(f"{name!r} cannot be the name of a file ({error}).") from error


def _require_regular(status: os.stat_result, name: str, limit: Limit) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, device or socket"
        raise DataError(f"{name}: {kind} and not a regular file. Remove it.")
    if status.st_size > limit.value:
        raise DataError(
            f"{name}: has {status.st_size:,} bytes, and at most {limit.value:,} are read. "
            f"{limit.remedy(status.st_size)}"
        )
