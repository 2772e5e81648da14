"""The reason that a library gives for a failure, on one line."""

from __future__ import annotations

LONGEST = 400
"""Characters; libraries list every tensor that does not fit."""


def shorten_reason(error: object) -> str:
    """Return the text of an error on one line, without a full stop, cut off if it is long."""
    text = " ".join(str(error).split()).rstrip(".")
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"
