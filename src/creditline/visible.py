"""Text that a terminal only shows: names from files, metadata and manifests can be anyone's."""

from __future__ import annotations

import unicodedata

LIMIT = 2000
"""Characters of a message; more are no longer read."""
HIDDEN = frozenset({"Cc", "Zl", "Zp", "Cs"})
"""Unicode categories of characters that act instead of showing: C0, C1, line ends, surrogates."""
DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that reorder the text beside them."""


def visible(text: str, keep: str = "") -> str:
    r"""Write control characters, line ends and text directions as escapes, such as `\x1b`.

    Args:
        text: any text.
        keep: characters that stay as they are, such as a line end in text of ours.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in keep or not _acts(c) else _escape(c) for c in text)


def shorten(text: str, limit: int = LIMIT) -> str:
    """Leave out the middle of a long text: what was asked stands first, what to do last."""
    if len(text) <= limit:
        return text
    head = limit * 2 // 3
    tail = limit - head - len(" [...] ")
    return f"{text[:head]} [...] {text[len(text) - tail :]}"


def _acts(character: str) -> bool:
    return character in DIRECTIONS or unicodedata.category(character) in HIDDEN


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
