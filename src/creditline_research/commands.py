"""Entry points of the command line: module and summary of each command.

This module imports nothing, so that the list of commands stays quick.
"""

from __future__ import annotations

RECIPE = (
    "creditline_research.cli.recipe",
    "The D-TRAK paper's experiments: settings, numbers, cost, run.",
)
RESEARCH = ("creditline_research.cli", "Make the tables of our own studies.")
