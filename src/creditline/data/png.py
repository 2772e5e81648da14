"""The checksums of PNG files, which Pillow does not compare for the pixels."""

from __future__ import annotations

import zlib
from pathlib import Path

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PIXELS, END = b"IDAT", b"IEND"
LAST = b"\0\0\0\0IEND\xaeB`\x82"
"""The last chunk of every file."""


def damaged_chunk(data: bytes) -> str | None:
    """Return what is wrong with the pixels of a PNG file; None if nothing is.

    Args:
        data: the file's contents; those of other formats are not looked at.
    """
    if not data.startswith(SIGNATURE):
        return None
    view, at = memoryview(data), len(SIGNATURE)
    while at + 8 <= len(data):
        length, kind = int.from_bytes(view[at : at + 4]), bytes(view[at + 4 : at + 8])
        if kind == END:
            break
        end = at + 8 + length
        if kind == PIXELS:
            if end + 4 > len(data):
                return "its pixels are cut short"
            if zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4]):
                return "its pixels do not have the checksum that the file names"
        at = end + 4
    return None


def is_intact_png(path: Path) -> bool:
    """Whether a file is a complete PNG whose pixels have their checksums."""
    try:
        data = path.read_bytes()
    except OSError:
        return False
    is_complete = data.startswith(SIGNATURE) and data.endswith(LAST)
    return is_complete and damaged_chunk(data) is None
