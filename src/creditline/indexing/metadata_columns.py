"""Further metadata columns of an image, as an index's table stores them: one JSON object."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from creditline.checksum import damaged
from creditline.indexing.table_record import ADVICE


def write_columns(columns: Mapping[str, Sequence[str | None]], position: int) -> str:
    """Write the values of the image at `position` of an image set."""
    return json.dumps({name: values[position] for name, values in columns.items()})


def read_columns(text: str, table: Path) -> dict[str, str | None]:
    """Read what `write_columns` wrote.

    Args:
        text: from the table, which may be a stranger's.
        table: for the message.

    Raises:
        DamageError: if it is no JSON object of texts that a file can hold.
    """
    try:
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError("its metadata columns are no JSON object")
        for part in (*values, *values.values()):
            if part is not None and not isinstance(part, str):
                raise ValueError("a metadata column holds other values than text")
            (part or "").encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise damaged(table, ADVICE, str(error)[:200]) from error
    return values
