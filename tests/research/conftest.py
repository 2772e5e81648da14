"""Command-line fixtures of the research commands."""

from tests.cli.conftest import data, refused, run

__all__ = ["data", "refused", "run"]
