"""JSON files that hold a checksum of their contents."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from creditline import checksum
from creditline.files import write_file
from creditline.json_schema import ANY, JsonSchema

CHECKSUM = "checksum"
OBJECT = JsonSchema(ANY)
"""Any object, for readers that compare values and use none."""
SURROGATE = re.compile(r"\\ud[89a-f]", re.IGNORECASE)
"""Half of a pair, as JSON escapes it; accents and other plain letters are none."""


def write_json(
    path: str | Path,
    values: Mapping[str, Any],
    *,
    overwrite: bool = True,
    indent: int = 2,
    default: Callable[[Any], Any] | None = None,
) -> str:
    """Write a JSON object and its checksum.

    Args:
        path: of the file.
        values: the object.
        overwrite: replace an existing file.
        indent: spaces of a level.
        default: turns what JSON does not know into what it knows.

    Returns:
        The checksum.

    Raises:
        SettingsError: if the file exists and `overwrite` is False.
    """
    plain, total = with_checksum(values, default)
    text = json.dumps({**plain, CHECKSUM: total}, indent=indent, ensure_ascii=False)
    write_file(path, lambda draft: draft.write_text(text + "\n", "utf-8"), overwrite=overwrite)
    return total


def with_checksum(
    values: Mapping[str, Any], default: Callable[[Any], Any] | None = None
) -> tuple[dict[str, Any], str]:
    """Return an object as a reader will see it, and its checksum."""
    plain = json.loads(json.dumps(values, default=default))
    return plain, checksum.of_json(plain)


def read_json(
    path: Path, advice: str, schema: JsonSchema, expected: str | None = None
) -> dict[str, Any]:
    """Read what `write_json` wrote.

    Args:
        path: of the file.
        advice: what to do if it is damaged.
        schema: of the values; a checksum does not show who wrote them.
        expected: checksum that another file names.

    Raises:
        DamageError: if the file is missing or damaged, or has a value that it cannot have.
        CreditlineError: if it cannot be read.
    """
    try:
        if not path.is_file():  # nothing waits for a pipe
            raise FileNotFoundError
        text = path.read_text("utf-8")
        values = json.loads(text)
        if SURROGATE.search(text):  # half a pair is text that no file can hold
            json.dumps(values, ensure_ascii=False).encode()
    except OSError as error:
        raise checksum.unreadable(path, error, advice) from error
    except (ValueError, RecursionError) as error:
        raise checksum.damaged(path, advice, str(error)[:200]) from error
    if not is_intact(values) or (expected is not None and values[CHECKSUM] != expected):
        raise checksum.damaged(path, advice)
    del values[CHECKSUM]
    fault = schema.fault(values)
    if fault is not None:
        raise checksum.damaged(path, advice, fault)
    return values


def is_intact(values: Any) -> bool:
    """Whether a JSON value is an object with its checksum."""
    if not isinstance(values, dict) or CHECKSUM not in values:
        return False
    rest = {key: value for key, value in values.items() if key != CHECKSUM}
    return bool(values[CHECKSUM] == checksum.of_json(rest))
