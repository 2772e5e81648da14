"""The address of a training image's source, where its metadata has one that is safe to link."""

from __future__ import annotations

from urllib.parse import urlsplit

from creditline.records.hit import LONGEST_VALUE

COLUMNS = ("url", "source_url")
"""Metadata columns whose values may be links."""
SCHEMES = ("http", "https")


def source_address(column: str, value: str) -> str | None:
    """Return the address that a metadata value is a link to; None: it is text.

    Args:
        column: its name; case does not matter.
        value: may be anyone's. Only complete http and https addresses become links.
    """
    address = value.strip()
    if column.casefold() not in COLUMNS or len(address) >= LONGEST_VALUE:  # it may have been cut
        return None
    # Browsers read a backslash as a slash, so that another host than `urlsplit` reads is opened.
    if not address.isprintable() or " " in address or "\\" in address:
        return None
    try:
        parts = urlsplit(address)
        has_host = bool(parts.hostname)
    except ValueError:
        return None
    return address if parts.scheme in SCHEMES and has_host and "@" not in parts.netloc else None
