"""The command line: parses, calls the API, prints tables."""

from __future__ import annotations

from creditline.cli.app import main

__all__ = ["main"]
