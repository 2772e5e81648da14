"""JSON files of models: configs, indexes and records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from creditline.data.limits import METADATA_BYTES
from creditline.data.regular_file import read_regular_file
from creditline.errors import DataError, ModelError


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file.

    Raises:
        ModelError: if the file cannot be read or holds something else.
    """
    try:
        values = json.loads(read_regular_file(path, str(path), METADATA_BYTES))
    except DataError as error:
        raise ModelError(str(error)) from error
    except (ValueError, RecursionError) as error:  # also text that is not UTF-8
        raise ModelError(f"{path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path} should hold a JSON object and holds a {type(values).__name__}.")
    return values
