"""Errors that say what was requested, what was received and what to do.

Everything Creditline refuses on purpose derives from `CreditlineError`; the command line prints
its message without a traceback. Any other exception is a defect of Creditline.

Messages quote names and values that come from files. Their text has no control characters but line
ends, and is not longer than `creditline.visible.LIMIT`.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from creditline.visible import shorten, visible

KNOWN = 40
"""Names that a message lists."""


class CreditlineError(Exception):
    """Base class of every error that a user can cause and correct."""

    def __str__(self) -> str:
        return shorten(visible(super().__str__(), keep="\n"))


class SettingsError(CreditlineError, ValueError):
    """A setting has an impossible value, or two settings contradict each other."""


class DataError(CreditlineError):
    """Images or their metadata are missing, unreadable or do not fit together."""


class ModelError(CreditlineError):
    """A model cannot be loaded, or does not fit the images it is asked about."""


class IndexMismatchError(CreditlineError):
    """An index or run on disk was made with other settings, weights or data."""


class LockedError(CreditlineError):
    """Another process writes to the folder."""


class AccessError(CreditlineError):
    """This user may not write to, or read, a file or folder."""


class DamageError(CreditlineError):
    """A stored file is missing, or does not hold what was written to it."""


class NumericsError(CreditlineError):
    """A number is not finite, or a system is too ill-conditioned to be solved honestly."""


class ResourceError(CreditlineError):
    """The machine has too little memory or disk space for what was asked."""


def unknown(kind: str, value: object, known: Iterable[str]) -> SettingsError:
    """An error for a name that is not registered, with the nearest known name.

    Args:
        kind: what the name was meant to be, such as `"method"`.
        value: the name received.
        known: every accepted name.

    Returns:
        The error, to be raised by the caller.
    """
    names = sorted(known)
    near = get_close_matches(str(value), names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    more = f" and {len(names) - KNOWN} more" if len(names) > KNOWN else ""
    listed = ", ".join(names[:KNOWN])
    return SettingsError(f"Unknown {kind} {value!r}.{hint} Known: {listed}{more}.")


def difference(old: dict, new: dict, prefix: str = "") -> list[str]:
    """Lines `key: old value | new value` for every leaf in which two settings differ."""
    lines = []
    for key in sorted(set(old) | set(new)):
        a, b = old.get(key, "(absent)"), new.get(key, "(absent)")
        if isinstance(a, dict) and isinstance(b, dict):
            lines += difference(a, b, f"{prefix}{key}.")
        elif a != b:
            lines.append(f"  {prefix}{key}: {a!r} on disk, {b!r} asked for")
    return lines
