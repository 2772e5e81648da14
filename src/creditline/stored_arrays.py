"""Files of arrays that hold a checksum of their contents: safetensors and `.npy`.

In safetensors it is part of the metadata, and counts every byte of the file, itself as zeros. A
`.npy` file has it after its numbers, where `numpy.load` does not look.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from safetensors import SafetensorError

from creditline import checksum
from creditline.files import write_file

T = TypeVar("T")

ZEROS = b"0" * checksum.LENGTH
PLACE = re.compile(rb'"checksum":"([0-9a-f]{%d})"' % checksum.LENGTH)
MAX_HEADER = 100_000_000
"""Bytes that safetensors accepts."""
TRAILER = b"creditline:"


def write_tensors(
    path: Path,
    tensors: Mapping[str, Any],
    save_file: Callable[..., None],
    metadata: Mapping[str, str] | None = None,
    *,
    durable: bool = True,
) -> None:
    """Write or replace a safetensors file.

    Args:
        path: of the file.
        tensors: by name; contiguous.
        save_file: of `safetensors.numpy` or `safetensors.torch`.
        metadata: further text to store.
        durable: see `write_file`.
    """

    def save(draft: Path) -> None:
        save_file(dict(tensors), draft, {**(metadata or {}), "checksum": ZEROS.decode()})
        _, total, place = _measure(draft)
        with draft.open("r+b") as file:
            file.seek(place)
            file.write(total.encode())

    write_file(path, save, overwrite=True, durable=durable)


def read_tensors(
    path: Path, load_file: Callable[[Path], dict[str, T]], advice: str
) -> dict[str, T]:
    """Read what `write_tensors` wrote.

    Args:
        path: of the file.
        load_file: of `safetensors.numpy` or `safetensors.torch`.
        advice: what to do if it is damaged.

    Raises:
        DamageError: if the file is missing or damaged.
        CreditlineError: if it cannot be read.
    """
    check_tensors(path, advice)
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise checksum.damaged(path, advice, str(error)) from error


def check_tensors(path: Path, advice: str) -> dict[str, str]:
    """Check what `write_tensors` wrote, and return its metadata.

    Raises:
        DamageError: if the file is missing or damaged.
        CreditlineError: if it cannot be read.
    """
    try:
        stored, total, _ = _measure(path)
        if stored != total:
            raise checksum.damaged(path, advice)
        return dict(json.loads(_header(path))["__metadata__"])
    except OSError as error:
        raise checksum.unreadable(path, error, advice) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise checksum.damaged(path, advice) from error


def write_array(path: Path, array: np.ndarray, *, durable: bool = True) -> None:
    """Write or replace a `.npy` file; arguments as of `write_tensors`."""

    def save(draft: Path) -> None:
        np.save(draft, array)
        total = checksum.of_file(draft)
        with draft.open("ab") as file:
            file.write(TRAILER + total.encode())

    write_file(path, save, overwrite=True, durable=durable)


def read_array(path: Path, advice: str) -> np.ndarray:
    """Read what `write_array` wrote.

    Raises:
        DamageError: if the file is missing or damaged.
        CreditlineError: if it cannot be read.
    """
    check_array(path, advice)
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise checksum.damaged(path, advice, str(error)) from error


def has_checksum(path: Path) -> bool:
    """Whether a `.npy` file ends in a checksum."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - len(TRAILER) - checksum.LENGTH))
            return file.read(len(TRAILER)) == TRAILER
    except OSError:
        return False


def check_array(path: Path, advice: str) -> None:
    """Check what `write_array` wrote, as `read_array` does."""
    try:
        size = path.stat().st_size
        end = max(0, size - len(TRAILER) - checksum.LENGTH)
        with path.open("rb") as file:
            file.seek(end)
            stored = file.read()
        if stored != TRAILER + checksum.of_file(path, stop=end).encode():
            raise checksum.damaged(path, advice)
    except OSError as error:
        raise checksum.unreadable(path, error, advice) from error


def _measure(path: Path) -> tuple[str, str, int]:
    """Checksum that a safetensors file names, the one that it has, and where it is named."""
    header = _header(path)
    match = PLACE.search(header)
    if match is None:
        raise ValueError("no checksum")
    length = len(header).to_bytes(8, "little")
    zeroed = length + header[: match.start(1)] + ZEROS + header[match.end(1) :]
    total = checksum.of_file(path, head=zeroed, start=8 + len(header))
    return match[1].decode(), total, 8 + match.start(1)


def _header(path: Path) -> bytes:
    """The JSON text at the beginning of a safetensors file."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MAX_HEADER:
            raise ValueError("no header")
        header = file.read(length)
    if len(header) < length:
        raise ValueError("no header")
    return header
