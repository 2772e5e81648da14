"""Plain text tables that stay within 100 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from itertools import zip_longest

from creditline.visible import visible

WIDTH = 100


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    right: Iterable[int] = (),
    indent: int = 0,
) -> str:
    """Columns under a header; the widest one is shortened if the table is too wide.

    Args:
        header: one title per column.
        rows: cells as text.
        right: columns that are aligned to the right, as numbers are.
        indent: spaces before every line.
    """
    lines = [list(map(visible, line)) for line in (header, *rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    excess = indent + sum(widths) + 2 * (len(widths) - 1) - WIDTH
    widest = max(range(len(widths)), key=lambda i: widths[i])
    if excess > 0:
        widths[widest] = max(12, widths[widest] - excess)
    numbers = set(right)

    def cell(i: int, text: str) -> str:
        text = middle(text, widths[i])
        return text.rjust(widths[i]) if i in numbers else text.ljust(widths[i])

    margin = " " * indent
    return "\n".join(
        margin + "  ".join(map(cell, range(len(line)), line)).rstrip() for line in lines
    )


def grid(header: Sequence[str], rows: Iterable[Sequence[str]], widths: Sequence[int]) -> str:
    """Columns of given widths in which long cells go on in the next line; rows stand apart."""
    blocks = []
    for row in (header, *rows):
        cells = [
            [part for line in text.split("\n") for part in textwrap.wrap(line, width)]
            for text, width in zip(row, widths, strict=True)
        ]
        lines = zip_longest(*cells, fillvalue="")
        blocks.append("\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines))
    return "\n\n".join(blocks)


def facts(pairs: Iterable[tuple[str, str]], indent: int = 2) -> str:
    """One fact per paragraph: its name, then its value, wrapped."""
    listed = list(pairs)
    margin = indent + max((len(name) for name, _ in listed), default=0) + 2
    return "\n".join(
        textwrap.fill(
            value,
            WIDTH,
            initial_indent=(" " * indent + name).ljust(margin),
            subsequent_indent=" " * margin,
            break_on_hyphens=False,
        )
        for name, value in listed
    )


def middle(text: str, width: int) -> str:
    """`text` without its middle if longer than `width`, because both ends distinguish names."""
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"
