"""Write the facts about methods on the documentation site from the registry.

A hook of MkDocs, named in `mkdocs.yml`. It replaces two comments on a page:

    <!-- methods: all -->             a table of every registered method
    <!-- methods: trak, d-trak -->    the facts about these methods

So the pages cannot disagree with `creditline methods`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from creditline.methods import METHODS
from creditline.retraining import RETRAINING

CARDS: dict[str, Any] = {**METHODS, **RETRAINING}
MARKER = re.compile(r"<!-- methods: ([a-z0-9, -]+) -->")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the comments of a page; called by MkDocs."""
    return MARKER.sub(_replacement, markdown)


def overview(names: Sequence[str]) -> str:
    """Table of methods: name, score, needs, cost, source."""
    rows = [
        f"| `{name}` | {_cell(card.formula)} | {_cell(card.needs)} | {_cell(card.cost)} "
        f"| {_cell(card.paper)} |"
        for name, card in ((name, CARDS[name]) for name in names)
    ]
    head = ["| Method | Score | Needs | Cost | Source |", "| --- | --- | --- | --- | --- |"]
    return "\n".join([*head, *rows])


def _replacement(match: re.Match[str]) -> str:
    asked = [name.strip() for name in match[1].split(",")]
    return overview(list(CARDS) if asked == ["all"] else asked)


def _cell(text: str) -> str:
    """Text in one cell of a table; braces and bars are escaped."""
    return " ".join(text.split()).replace("|", "\\|")
