"""Sources on disk: a folder, a zip file or a folder inside one, and a list of image files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from creditline.data.archive_files import ArchiveFiles
from creditline.data.formats import is_image_file
from creditline.data.limits import FILE_BYTES, Limit
from creditline.data.regular_file import read_regular_file
from creditline.data.walk_folder import skip_hidden, walk_folder
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
        return sorted(skip_hidden(walk_folder(self.root)))

    def read(self, key: str, limit: Limit = FILE_BYTES) -> bytes:
        """The contents of a file; DataError if it is gone, unreadable, too large or no file."""
        return read_regular_file(self.root / key, key, limit)


class ImageFiles:
    """Image files named one by one; keys are their paths."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths
        self.label = str(paths[0]) if len(paths) == 1 else f"{len(paths)} files"

    def read(self, key: str) -> bytes:
        """The contents of a file; DataError if it is gone, unreadable, too large or no file."""
        return read_regular_file(Path(key), key)


def open_source(path: str | os.PathLike[str]) -> FolderFiles | ArchiveFiles | ImageFiles:
    """The source a path stands for.

    Raises:
        DataError: if nothing is there, or it is neither folder, zip file nor image.
    """
    try:
        return _open_source(Path(path).expanduser())
    except RuntimeError as error:  # the home of a user who does not exist
        raise DataError(
            f"{path} cannot be found: {error}. Write the folder out, without ~."
        ) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).") from error
    except ValueError as error:  # a null character
        raise DataError(f"{path!r} cannot be a path ({error}).") from error


def _open_source(place: Path) -> FolderFiles | ArchiveFiles | ImageFiles:
    if place.is_dir():
        return FolderFiles(place)
    if place.is_file():
        return ImageFiles([place]) if is_image_file(place.name) else ArchiveFiles(place)
    if place.exists():
        raise DataError(
            f"{place} is a pipe, device or socket. Give a folder of images, a zip file of one, or "
            "an image."
        )
    parent = next(parent for parent in place.parents if parent.exists())  # "." or "/" at last
    if parent.is_file():
        return ArchiveFiles(parent, place.relative_to(parent).as_posix())
    missing = place.relative_to(parent).parts[0]
    raise DataError(
        f"{place} does not exist: {parent} holds no {missing!r}. "
        "Give a folder of images, a zip file of one, or an image."
    )
