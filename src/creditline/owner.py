"""The process that writes: who it is, for others to see, and whether it still runs."""

from __future__ import annotations

import getpass
import hashlib
import os
import socket
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Self

ASIDE = ".creditline-"
"""How the names of temporary files and folders begin; a killed process leaves its own behind."""


@dataclass(frozen=True)
class Owner:
    """A process that writes to a folder.

    Attributes:
        host: name of its machine.
        pid: its number there.
        started: when the process began, in the machine's own count; 0 where that is not known.
        user: name of its user.
        command: what it runs.
        since: when it began to write, as text.
    """

    host: str
    pid: int
    started: int
    user: str
    command: str
    since: str

    @classmethod
    def current(cls) -> Self:
        """Describe this process."""
        return cls(
            socket.gethostname(),
            os.getpid(),
            _started(os.getpid()),
            _user(),
            _command(),
            datetime.now(UTC).isoformat(timespec="seconds"),
        )

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """Restore what `to_json` returned; unknown values become texts.

        Raises:
            ValueError: if it is something else.
        """
        try:
            texts = {name: str(values[name])[:200] for name in ("host", "user", "command", "since")}
            return cls(pid=int(values["pid"]), started=int(values["started"]), **texts)
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"no owner: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        place = f"process {self.pid} on {self.host}"
        return f"`{self.command}` of {self.user} ({place}) since {self.since}"

    @property
    def is_gone(self) -> bool:
        """Whether it is known that the process ended; False for those of other machines."""
        return self.host == socket.gethostname() and not _is_running(self.pid, self.started)


def aside_prefix() -> str:
    """Prefix of this process's temporary files and folders: it names the process."""
    return f"{ASIDE}{_host_key()}-{os.getpid()}-{_started(os.getpid())}-"


def is_abandoned(name: str) -> bool | None:
    """Whether the process that made a temporary file or folder has ended.

    Args:
        name: begins with `ASIDE`.

    Returns:
        None where that cannot be known, such as for other machines.
    """
    parts = name.removeprefix(ASIDE).split("-")
    if len(parts) < 4 or parts[0] != _host_key() or not all(p.isdecimal() for p in parts[1:3]):
        return None
    return not _is_running(int(parts[1]), int(parts[2]))


def _is_running(pid: int, started: int) -> bool:
    if sys.platform == "win32":  # where os.kill ends the process
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    now = _started(pid)
    return now == started or not now or not started  # another process may have its number


def _started(pid: int) -> int:
    """When a process began; 0 where the system does not say."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    fields = text.rpartition(")")[2].split()
    return int(fields[19]) if fields[0] not in "ZX" else -1  # a zombie has ended


@cache
def _host_key() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a user without a name, as in containers
        return str(getattr(os, "getuid", lambda: "unknown")())


def _command() -> str:
    program = Path(sys.argv[0] if sys.argv else "").name or "python"
    is_ours = program == "creditline" and len(sys.argv) > 1
    return f"{program} {sys.argv[1]}"[:80] if is_ours else program[:80]
