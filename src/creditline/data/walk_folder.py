"""The files of a folder and those below it, without hidden ones."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from creditline.errors import DataError


def walk_folder(root: Path) -> Iterator[str]:
    """Yield the paths, relative to `root`, of all files in it and below.

    Links to folders are followed after all folders, so that a folder keeps its own name where a
    link leads to it as well.

    Raises:
        DataError: if a folder cannot be listed.
    """

    def fail(error: OSError) -> None:
        raise DataError(f"{error.filename} cannot be listed ({error.strerror}).") from error

    seen: set[str] = set()  # folders reached through links may contain themselves
    waiting = [root]
    while waiting:
        links: list[Path] = []
        for start in waiting:
            if os.path.realpath(start) in seen:
                continue
            for folder, inner, files in os.walk(start, onerror=fail):
                seen.add(os.path.realpath(folder))
                base = Path(folder)
                links += [base / name for name in sorted(inner) if (base / name).is_symlink()]
                yield from ((base / file).relative_to(root).as_posix() for file in files)
        waiting = links


def skip_hidden(names: Iterable[str]) -> Iterator[str]:
    """Yield the names that are not hidden.

    Raises:
        DataError: if a name is not valid Unicode.
    """
    for name in names:
        parts = PurePosixPath(name).parts
        if any(part.startswith((".", "__MACOSX")) for part in parts):
            continue
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"The file name {name!r} is not valid UTF-8. Rename it.") from error
        yield name
