"""Checksums of stored data: whether a file holds what was written (XXH3, 128 bits).

They find damage by disks, memory and programs. They do not prove who wrote a file.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import xxhash

from creditline.errors import CreditlineError, DamageError

BUFFER = 2**20
LENGTH = 32
_intact: dict[str, tuple[int, int, int, str]] = {}
"""Files that this process has checked: size, time, inode and checksum by path."""


def of_bytes(*parts: Any) -> str:
    """Checksum of bytes-like parts, one after the other: 32 hexadecimal characters."""
    digest = xxhash.xxh3_128()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def of_json(value: Any) -> str:
    """Checksum of a JSON value, independent of spaces and of the order of keys."""
    return of_bytes(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def of_file(path: Path, head: bytes = b"", start: int = 0, stop: int | None = None) -> str:
    """Checksum of a file's bytes.

    Args:
        path: of the file.
        head: bytes that come before them.
        start, stop: the part of the file; by default all of it.
    """
    digest = xxhash.xxh3_128(head)
    buffer = memoryview(bytearray(BUFFER))
    with path.open("rb", buffering=0) as file:
        left = os.fstat(file.fileno()).st_size if stop is None else stop
        left -= file.seek(start)
        while left > 0 and (count := file.readinto(buffer[: min(left, BUFFER)])):
            digest.update(buffer[:count])
            left -= count
    return digest.hexdigest()


@dataclass(frozen=True)
class FileRecord:
    """What a file must hold.

    Attributes:
        bytes: its size.
        checksum: of all of it.
    """

    bytes: int
    checksum: str

    @classmethod
    def of(cls, path: Path) -> Self:
        """Record a file as it is now."""
        return cls(path.stat().st_size, of_file(path))

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    def check(self, path: Path, advice: str) -> None:
        """Check a file; one that was checked before in this process only for changes since.

        Args:
            path: of the file.
            advice: what to do if it is damaged.

        Raises:
            DamageError: if it is missing or damaged.
            CreditlineError: if it cannot be read.
        """
        try:
            status = path.stat()
            key = (status.st_size, status.st_mtime_ns, status.st_ino, self.checksum)
            if _intact.get(str(path)) == key:
                return
            is_intact = (
                stat.S_ISREG(status.st_mode)  # nothing waits for a pipe
                and status.st_size == self.bytes
                and of_file(path) == self.checksum
            )
        except OSError as error:
            raise unreadable(path, error, advice) from error
        if not is_intact:
            raise damaged(path, advice)
        _intact[str(path)] = key


def records_to_json(records: Mapping[str, FileRecord]) -> dict[str, Any]:
    """Return records by name as JSON values."""
    return {name: record.to_json() for name, record in sorted(records.items())}


def records_from_json(values: Mapping[str, Any]) -> dict[str, FileRecord]:
    """Restore what `records_to_json` returned, and `creditline.json_schema.FILES` describes."""
    return {name: FileRecord(**record) for name, record in values.items()}


def damaged(path: Path, advice: str, why: str = "it does not hold what was written") -> DamageError:
    """An error for a file whose checksum is wrong."""
    return DamageError(f"{path} is damaged: {why}. {advice}")


def unreadable(path: Path, error: OSError, advice: str) -> CreditlineError:
    """An error for a file that is missing, which is damage, or cannot be read, which is not."""
    if isinstance(error, (FileNotFoundError, NotADirectoryError, IsADirectoryError)):
        return DamageError(f"{path} is missing. {advice}")
    return CreditlineError(
        f"{path} cannot be read ({error.strerror}). Ask its owner for permission to read it."
    )
