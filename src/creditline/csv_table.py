"""Tables as CSV, which people open in spreadsheet programs."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""How a cell begins that a spreadsheet program computes."""


def csv_cell(value: Any) -> Any:
    """Return a cell that a spreadsheet program shows as it is; only text is changed.

    Text that begins as a formula gets an apostrophe in front, and so does text that begins with
    apostrophes before one. Removing the first apostrophe of such a cell restores it.
    """
    if isinstance(value, str) and value.lstrip("' ").startswith(FORMULA):
        return f"'{value}"
    return value


def original_text(cell: str) -> str:
    """Return the text of which `csv_cell` made a cell."""
    text = cell.removeprefix("'")
    return text if csv_cell(text) == cell else cell


def write_csv(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a frame as UTF-8 CSV without its index, every cell as `csv_cell` returns it."""
    text = frame.select_dtypes(exclude="number").columns
    safe = frame.astype(dict.fromkeys(text, object))
    for name in text:
        safe[name] = safe[name].map(csv_cell)
    cells = [*safe.columns, *(value for name in text for value in safe[name])]
    safe.columns = [csv_cell(name) for name in safe.columns]
    safe.to_csv(path, index=False, quoting=quoting(cells))


def quoting(cells: Iterable[Any]) -> Any:
    """Return how the `csv` module has to quote a table of some cells."""
    # A bare carriage return ends a row for many readers, and Python quotes it since 3.13 only.
    returns = any(isinstance(cell, str) and "\r" in cell for cell in cells)
    return csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
