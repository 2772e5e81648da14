"""Bytes and seconds as people read them."""

from __future__ import annotations

import re

from creditline.errors import SettingsError


def size(n_bytes: float) -> str:
    """Bytes for people: `48.1 MB`."""
    for unit in ("bytes", "kB", "MB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "bytes" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} GB"


def bytes_of(text: str) -> float:
    """Bytes of a size as people write it: `2GB`, `500 MB`, `1.5e9`.

    Raises:
        SettingsError: if it is none.
    """
    match = re.fullmatch(r"\s*([0-9.]+(?:e[0-9]+)?)\s*([kMGT]?)B?\s*", text, re.IGNORECASE)
    try:
        number, unit = float(match[1] if match else ""), match[2].upper() if match else ""
    except ValueError:
        raise SettingsError(
            f"A size is a number with kB, MB, GB or TB; got {text!r}. Try 4GB."
        ) from None
    return number * 1000.0 ** ("KMGT".index(unit) + 1 if unit else 0)


def duration(seconds: float) -> str:
    """Seconds for people: `3 min 20 s`."""
    if seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
