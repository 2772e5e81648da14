"""Sources on disk: a folder, a zip file or a folder inside one, and a list of image files."""

from __future__ import annotations

import lzma
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from creditline.data.decode import EXTENSIONS, MAX_FILE_BYTES
from creditline.errors import DataError


class FolderFiles:
    """Files below a folder; keys are their paths relative to it."""

    def __init__(self, root: Path) -> None:
        self.root, self.label = root.absolute(), str(root)

    def files(self) -> list[str]:
        """Relative paths of all files that are not hidden, sorted.

        Raises:
            DataError: if a folder cannot be listed.
        """
        return sorted(_visible(_walk(self.root)))

    def read(self, key: str) -> bytes:
        """The contents of a file; DataError if it is gone, unreadable or absurdly large."""
        return _read_file(self.root / key, key)


class ArchiveFiles:
    """Files in a zip file below an inner folder; keys are their paths relative to that.

    The file is opened once per process, on first use, so that an archive pickles and worker
    processes never share a file position.
    """

    def __init__(self, path: Path, inner: str = "") -> None:
        self.path, self.inner = path.absolute(), f"{inner.strip('/')}/" if inner.strip("/") else ""
        self.label = f"{path}/{self.inner}".rstrip("/")
        self._open: tuple[int, zipfile.ZipFile] | None = None

    def files(self) -> list[str]:
        """Relative paths of all files that are not hidden, sorted.

        Raises:
            DataError: if this is no readable zip file or has no such inner folder.
        """
        entries = {i.filename for i in self._archive().infolist() if not i.is_dir()}
        names = [name[len(self.inner) :] for name in entries if name.startswith(self.inner)]
        if self.inner and not names:
            tops = sorted({name.split("/")[0] + "/" for name in entries if "/" in name})
            raise DataError(
                f"{self.path} holds no folder {self.inner!r}. Its folders: {', '.join(tops[:10])}."
            )
        return sorted(_visible(names))

    def read(self, key: str) -> bytes:
        """The contents of an entry; DataError if it is damaged, encrypted or absurdly large."""
        archive = self._archive()
        try:
            info = archive.getinfo(self.inner + key)
            if info.file_size > MAX_FILE_BYTES:
                raise DataError(f"{key}: unpacks to {info.file_size:,} bytes. Remove it.")
            return archive.read(info)
        except KeyError as error:
            raise DataError(f"{key}: no longer in {self.path}.") from error
        except RuntimeError as error:  # zipfile's answer to encryption and unknown compression
            raise DataError(f"{key}: cannot be read from {self.path} ({error}).") from error
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError) as error:
            raise DataError(f"{key}: damaged in {self.path} ({error}).") from error

    def _archive(self) -> zipfile.ZipFile:
        if self._open is None or self._open[0] != os.getpid():
            try:
                self._open = os.getpid(), zipfile.ZipFile(self.path)
            except (zipfile.BadZipFile, OSError) as error:
                raise DataError(
                    f"{self.path} cannot be read as a zip file ({error}). Give a folder of "
                    "images, a zip file of one, or an image."
                ) from error
        return self._open[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None}


class ImageFiles:
    """Image files named one by one; keys are their paths."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths
        self.label = str(paths[0]) if len(paths) == 1 else f"{len(paths)} files"

    def read(self, key: str) -> bytes:
        """The contents of a file; DataError if it is gone, unreadable or absurdly large."""
        return _read_file(Path(key), key)


def open_source(path: str | os.PathLike[str]) -> FolderFiles | ArchiveFiles | ImageFiles:
    """The source a path stands for.

    Raises:
        DataError: if nothing is there, or it is neither folder, zip file nor image.
    """
    try:
        return _open_source(Path(path).expanduser())
    except RuntimeError as error:  # the home of a user who does not exist
        raise DataError(f"{path} cannot be names: {error}.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).") from error


def is_image_file(name: str) -> bool:
    """Whether a file name ends as those of images do."""
    return PurePosixPath(name).suffix.lower() in EXTENSIONS


def _open_source(place: Path) -> FolderFiles | ArchiveFiles | ImageFiles:
    if place.is_dir():
        return FolderFiles(place)
    if place.is_file():
        if place.suffix.lower() in EXTENSIONS:
            return ImageFiles([place])
        return ArchiveFiles(place)
    parent = next(parent for parent in place.parents if parent.exists())  # "." or "/" at last
    if parent.is_file():
        return ArchiveFiles(parent, place.relative_to(parent).as_posix())
    missing = place.relative_to(parent).parts[0]
    raise DataError(
        f"{place} does not exist: {parent} holds no {missing!r}. "
        "Give a folder of images, a zip file of one, or an image."
    )


def _walk(root: Path) -> Iterator[str]:
    def fail(error: OSError) -> None:
        raise DataError(f"{error.filename} cannot be listed ({error.strerror}).") from error

    seen: set[str] = set()  # folders reached through links may contain themselves
    for folder, inner, files in os.walk(root, onerror=fail, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            inner.clear()
            continue
        seen.add(real)
        inner[:] = sorted(inner)
        base = Path(folder).relative_to(root)
        yield from ((base / file).as_posix() for file in files)


def _visible(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        parts = PurePosixPath(name).parts
        if any(part.startswith((".", "__MACOSX")) for part in parts):
            continue
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"The file name {name!r} is not valid UTF-8. Rename it.") from error
        yield name


def _read_file(path: Path, name: str) -> bytes:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DataError(f"{name}: {path.stat().st_size:,} bytes are too many for an image.")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror}).") from error
