"""Printing that neither fails nor obeys what is printed."""

from __future__ import annotations

import sys

import click

from creditline.visible import visible


def prepare_streams() -> None:
    """Let the standard streams escape characters that the terminal lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def echo(text: object = "", err: bool = False) -> None:
    """Print text; control characters in it are shown, not sent.

    Args:
        text: may have several lines.
        err: print it on the standard error stream.
    """
    click.echo(visible(str(text), keep="\n"), err=err)
