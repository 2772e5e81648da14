"""The files of a Lance table, by version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

VERSIONS, TRANSACTIONS, DATA = "_versions", "_transactions", "data"
HINT = "latest_version_hint.json"
LAST = 2**64 - 1
"""Names of version files count down from it, so that the newest comes first in a listing."""


def version_file(table: Path, version: int) -> Path:
    """The file of a version."""
    for path, number in _version_files(table):
        if number == version:
            return path
    return table / VERSIONS / f"{LAST - version}.manifest"


def remove_later_versions(table: Path, version: int) -> None:
    """Remove versions that were committed after the one that counts, readable or not.

    Args:
        table: its folder.
        version: that counts; 0 if none does.
    """
    for path, number in list(_version_files(table)):
        if number > version:
            path.unlink(missing_ok=True)
            (table / VERSIONS / HINT).unlink(missing_ok=True)
    for path in (table / TRANSACTIONS).glob("*-*.txn"):
        if path.name.partition("-")[0].isdecimal() and int(path.name.partition("-")[0]) >= version:
            path.unlink(missing_ok=True)


def remove_other_files(table: Path, version: int, names: Iterable[str]) -> None:
    """Remove every file that a version does not need, whether or not Lance can still read it.

    Args:
        table: its folder.
        version: that stays.
        names: its files, as `files_of` returns them.
    """
    used = {*names, *transactions_of(table, version), f"{VERSIONS}/{HINT}"}
    for path in list(table.rglob("*")):
        if path.is_file() and path.relative_to(table).as_posix() not in used:
            path.unlink(missing_ok=True)


def transactions_of(table: Path, version: int) -> list[str]:
    """Paths below the table of what Lance recorded of the commit of a version."""
    paths = (table / TRANSACTIONS).glob(f"{version - 1}-*.txn")
    return [path.relative_to(table).as_posix() for path in paths]


def remove_drafts(table: Path) -> None:
    """Remove files that a killed process had begun to write."""
    for folder in (DATA, VERSIONS, TRANSACTIONS):
        for path in [*(table / folder).glob(".tmp*"), *(table / folder).glob("*#*")]:
            path.unlink(missing_ok=True)


def files_of(dataset: Any, table: Path) -> list[str]:
    """Paths below the table of all files of an open version, data files first."""
    fragments = dataset.get_fragments()
    names = [f"{DATA}/{file.path}" for x in fragments for file in x.metadata.files]
    for fragment in fragments:
        deletion = fragment.deletion_file()
        if deletion is not None:
            names.append(deletion)
    path = version_file(table, dataset.version)
    return [*names, path.relative_to(table).as_posix()]


def _version_files(table: Path) -> Iterator[tuple[Path, int]]:
    for path in (table / VERSIONS).glob("*.manifest"):
        if path.stem.isdigit():
            number = int(path.stem)
            yield path, number if len(path.stem) < 20 else LAST - number
