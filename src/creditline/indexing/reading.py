"""Reading an index that another process may change meanwhile.

A reader asks for no lock. What it needs is checked when it is read, so it never mixes two states of
an index. If something is gone because the index was replaced or purged, that is what it says.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from creditline.errors import CreditlineError, DamageError, IndexMismatchError
from creditline.explain import explained
from creditline.indexing.fit_name import fit_name
from creditline.manifest import NAME, Manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

P = ParamSpec("P")
R = TypeVar("R")
GONE = (DamageError, IndexMismatchError)
"""Errors of ours that a change of the index can cause."""
_named: dict[Path, tuple[Any, ...]] = {}
"""What manifests name, by folder: time, inode and size of the file; version; name of the fits."""
NEVER = (KeyboardInterrupt, GeneratorExit, SystemExit, MemoryError)


def is_current(folder: Path, version: Any, checksum: Any) -> bool:
    """Whether the manifest of an index names this version of its table, by number and checksum."""
    return _read_names(folder)[0] == (version, checksum)


def _read_names(folder: Path) -> tuple[tuple[Any, Any] | None, str | None]:
    """Return the version that the manifest of an index names, and the name of its fits."""
    try:
        status = (folder / NAME).stat()
        key = status.st_mtime_ns, status.st_ino, status.st_size
        if _named.get(folder, (None,))[0] != key:
            manifest = Manifest.read(folder, "index")
            facts = manifest.facts if manifest.status == "complete" else {}
            version = facts.get("table_version"), facts.get("table_checksum")
            _named[folder] = key, version, fit_name(manifest.request) if facts else None
    except (OSError, CreditlineError):
        return None, None
    return _named[folder][1], _named[folder][2]


@contextmanager
def unchanged(folder: Path, version: Any, checksum: Any) -> Iterator[None]:
    """Say that an index was changed meanwhile, where that is why it cannot be read.

    Args:
        folder: the index.
        version, checksum: of its table, as they were when it was opened.

    Raises:
        IndexMismatchError: instead of an error that the change can have caused.
    """
    try:
        yield
    except NEVER:
        raise
    except BaseException as error:  # Lance's panics are not of `Exception`
        is_ours = isinstance(error, CreditlineError) and not isinstance(error, GONE)
        if is_ours or is_current(folder, version, checksum):
            raise
        raise IndexMismatchError(
            f"{folder} was changed by another process since it was opened, and what is asked for "
            "is not there any more. Open it again, or run the command again."
        ) from error


def consistent(method: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
    """Decorate a method of `Index`: errors are as of `unchanged` and `explained`."""
    call = explained(method)

    @wraps(method)
    def read(self: Any, *args: P.args, **kwargs: P.kwargs) -> R:
        facts = self.manifest.facts
        try:
            self._state.leave_results(_read_names(self.path)[1])
            with unchanged(self.path, facts["table_version"], facts["table_checksum"]):
                return call(self, *args, **kwargs)
        finally:  # what was stored meanwhile would outlast a purge
            self._state.leave_results(_read_names(self.path)[1])

    return read
