"""Files in a zip file, or in a folder inside one."""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

from creditline.data.limits import FILE_BYTES, Limit
from creditline.data.walk_folder import skip_hidden
from creditline.errors import DataError

CHUNK = 1 << 20
"""Bytes that are unpacked at once."""

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Ways of packing whose unpacking zipfile can bound: bzip2 makes gigabytes of a few bytes."""


class ArchiveFiles:
    """Files in a zip file below an inner folder; keys are their paths relative to that.

    The file is opened once per process, on first use, so that an archive pickles and worker
    processes never share a file position. Backslashes, which some Windows programs write between
    folders, count as slashes.
    """

    def __init__(self, path: Path, inner: str = "") -> None:
        self.path, self.inner = path.absolute(), f"{inner.strip('/')}/" if inner.strip("/") else ""
        self.label = f"{path}/{self.inner}".rstrip("/")
        self._open: tuple[int, zipfile.ZipFile] | None = None
        self._names: tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]] | None = None

    def files(self) -> list[str]:
        """Relative paths of all files that are not hidden, sorted.

        Raises:
            DataError: if this is no readable zip file, has no such inner folder, or has two
                entries of one name.
        """
        entries = self._entries()
        names = [name[len(self.inner) :] for name in entries if name.startswith(self.inner)]
        if self.inner and not names:
            tops = sorted({name.split("/")[0] + "/" for name in entries if "/" in name})
            raise DataError(
                f"{self.path} holds no folder {self.inner!r}. Its folders: {', '.join(tops[:10])}."
            )
        return sorted(skip_hidden(names))

    def read(self, key: str, limit: Limit = FILE_BYTES) -> bytes:
        """The contents of an entry; DataError if it is damaged, encrypted or too large."""
        archive, entries = self._archive(), self._entries()
        try:
            info = entries[self.inner + key]
            if info.file_size > limit.value:
                raise DataError(
                    f"{key}: unpacks to {info.file_size:,} bytes, and at most {limit.value:,} are "
                    f"read. {limit.remedy(info.file_size)}"
                )
            if info.compress_type not in METHODS:
                raise DataError(
                    f"{key}: packed by method {info.compress_type} in {self.path}, which cannot be "
                    "unpacked within a limit. Pack it with deflate, as zip files usually are."
                )
            return _unpack(archive, info)
        except KeyError as error:
            raise DataError(f"{key}: no longer in {self.path}.") from error
        except RuntimeError as error:  # zipfile's answer to encryption and unknown compression
            raise DataError(f"{key}: cannot be read from {self.path} ({error}).") from error
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError) as error:
            raise DataError(f"{key}: damaged in {self.path} ({error}).") from error
        except (ValueError, MemoryError) as error:
            raise DataError(f"{key}: damaged in {self.path} ({error!r}).") from error

    def _entries(self) -> dict[str, zipfile.ZipInfo]:
        """Return the files of the archive by their names with slashes."""
        archive = self._archive()
        if self._names is None or self._names[0] is not archive:
            self._names = archive, _list_entries(archive, self.path)
        return self._names[1]

    def _archive(self) -> zipfile.ZipFile:
        if self._open is None or self._open[0] != os.getpid():
            try:
                archive = zipfile.ZipFile(self.path)
            except Exception as error:  # zipfile raises many kinds for a damaged directory
                raise DataError(
                    f"{self.path} cannot be read as a zip file ({error}). Give a folder of "
                    "images, a zip file of one, or an image."
                ) from error
            self._open = os.getpid(), archive
        return self._open[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None, "_names": None}


def _list_entries(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    entries: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.replace("\\", "/")
        if name.endswith("/"):
            continue
        if name in entries:
            raise DataError(f"{path} has two entries called {name}. Keep one of them.")
        entries[name] = info
    return entries


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Unpack an entry in chunks, so that one which lies about its size takes no more memory."""
    contents = io.BytesIO()  # which returns its bytes without another copy
    with archive.open(info) as stream:
        while chunk := stream.read(CHUNK):
            contents.write(chunk)
    return contents.getvalue()
