"""Write tables of the documentation site from the code, so that they cannot disagree with it.

A hook of MkDocs, named in `mkdocs.yml`. It replaces these comments on a page:

    <!-- methods: all -->             a table of every registered method
    <!-- methods: trak, d-trak -->    the facts about these methods
    <!-- vocabulary -->               words that must not be used, and what to write instead
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from creditline.methods import get
from creditline.methods import names as registered

sys.path.insert(0, str(Path(__file__).parents[1]))  # MkDocs loads a hook by its path
from tools.vocabulary import SPELLINGS, TERMS

METHODS_MARKER = re.compile(r"<!-- methods: ([a-z0-9, -]+) -->")
VOCABULARY_MARKER = "<!-- vocabulary -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the comments of a page; called by MkDocs."""
    markdown = METHODS_MARKER.sub(_methods, markdown)
    return markdown.replace(VOCABULARY_MARKER, vocabulary({**TERMS, **SPELLINGS}))


def overview(names: Sequence[str]) -> str:
    """Table of methods: name, score, needs, cost, source."""
    cards = [(name, get(name)) for name in names]
    rows = [
        f"| `{name}` | {_cell(c.formula)} | {_cell(c.needs)} | {_cell(c.cost)} | {_cell(c.paper)} |"
        for name, c in cards
    ]
    head = ["| Method | Score | Needs | Cost | Source |", "| --- | --- | --- | --- | --- |"]
    return "\n".join([*head, *rows])


def vocabulary(words: Mapping[str, str]) -> str:
    """Table of words and what to write instead."""
    rows = [f"| {word} | {words[word]} |" for word in sorted(words)]
    return "\n".join(["| Not this | Write this |", "| --- | --- |", *rows])


def _methods(match: re.Match[str]) -> str:
    names = [name.strip() for name in match[1].split(",")]
    return overview(registered() if names == ["all"] else names)


def _cell(text: str) -> str:
    """Text in one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")
