"""Names in one form: Unicode NFC, and paths with slashes.

Systems differ in how they compose accents and separate folders. Names of files, contributors,
classes and columns are normalized where they enter, so that later code compares them directly.
"""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Iterable, Sequence

from creditline.errors import DataError


def normalize_name(text: str) -> str:
    """Return a name with composed accents and without blanks around it."""
    return (text if text.isascii() else unicodedata.normalize("NFC", text)).strip()


def normalize_names(names: Sequence[str | None]) -> tuple[str | None, ...]:
    """Normalize optional names; empty ones become None."""
    return tuple(None if name is None else normalize_name(name) or None for name in names)


def compose(text: str) -> str:
    """Return a text with composed accents (NFC)."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def require_unicode(kind: str, texts: Iterable[str | None]) -> None:
    """Refuse texts that no file could hold, such as names of files in another encoding.

    Args:
        kind: what the texts are, for the message.
        texts: None where there is none.

    Raises:
        DataError: naming the first.
    """
    for text in texts:
        if text is None or text.isascii():
            continue
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"{text!r} in {kind} is not valid Unicode. Rename it.") from error


def candidate_paths(folder: str, path: str) -> tuple[str, ...]:
    """Return the normalized paths that `path`, relative to `folder`, may mean, likeliest first.

    A backslash is part of a name on some systems, and separates folders on others.
    """
    forms = dict.fromkeys((path, path.replace("\\", "/")))
    return tuple(posixpath.normpath(posixpath.join(folder, compose(form))) for form in forms)


def by_composed_name(files: Sequence[str], label: str) -> dict[str, str]:
    """Return files by their name in NFC.

    Raises:
        DataError: if two files have the same name then.
    """
    names: dict[str, str] = {}
    for file in files:
        other = names.setdefault(compose(file), file)
        if other != file:
            raise DataError(
                f"{label} holds two files called {compose(file)}, which differ in how their "
                "accents are composed. Rename one."
            )
    return names
