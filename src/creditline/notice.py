"""Notices: what a caller should know although nothing failed."""

from __future__ import annotations

import warnings


class Notice(UserWarning):
    """A notice of Creditline; the command line prints it on stderr."""


def notice(text: str) -> None:
    """Show a notice, once for each text. A program can filter it by its class, `Notice`."""
    warnings.warn(text, Notice, stacklevel=3)
