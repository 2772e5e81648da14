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
from creditline.manifest import NAME, Manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

P = ParamSpec("P")
R = TypeVar("R")
GONE = (DamageError, IndexMismatchError)
"""Errors of ours that a change of the index can cause."""
_named: dict[Path, tuple[Any, ...]] = {}
"""Versions that manifests name, with the time, inode and size of each file."""
NEVER = (KeyboardInterrupt, GeneratorExit, SystemExit, MemoryError)


def is_current(folder: Path, version: Any, checksum: Any) -> bool:
    """Whether the manifest of an index names this version of its table, by number and checksum."""
    try:
        status = (folder / NAME).stat()
        key = status.st_mtime_ns, status.st_ino, status.st_size
        if _named.get(folder, (None,))[0] != key:
            manifest = Manifest.read(folder, "index")
            facts = manifest.facts if manifest.status == "complete" else {}
            _named[folder] = key, (facts.get("table_version"), facts.get("table_checksum"))
    except (OSError, CreditlineError):
        return False
    return _named[folder][1] == (version, checksum)


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
        facts, fits = self.manifest.facts, self._state.fits
        name = self.path, facts["table_version"], facts["table_checksum"]
        try:
            if not is_current(*name):
                fits.leave()
            with unchanged(*name):
                return call(self, *args, **kwargs)
        finally:
            if not is_current(*name):  # what was stored meanwhile would outlast a purge
                fits.leave()

    return read
