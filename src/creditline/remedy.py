"""What to do about an error of the operating system."""

from __future__ import annotations

import errno

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)


def remedy(error: BaseException) -> str:
    """Return the advice, without a full stop: "Free some disk space" only where that helps."""
    number = getattr(error, "errno", None)
    if number in FULL or (number is None and "No space left" in str(error)):
        return "Free some disk space"
    if number in DENIED:
        return "Ask the owner of the folder for the permission to write"
    return "Remove the cause"
