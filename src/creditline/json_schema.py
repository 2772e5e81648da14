"""What a stored JSON file may hold: types, ranges and patterns of every value that is used.

A file may come from a stranger, who can compute checksums too. So no value is used before its type
and size are known, and no name leads out of the folder that it is joined to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any

COUNT, DIM = 2**40, 2**31
"""Largest numbers of images and dimensions."""
EXACT = 2**53
"""Largest whole number that a float holds exactly."""
Schema = dict[str, Any]


def obj(required: Mapping[str, Any], **optional: Any) -> Schema:
    """Return the schema of an object with values that it must have, and some that it may."""
    properties = {**required, **optional}
    return {"type": "object", "properties": properties, "required": list(required)}


def array(items: Schema, most: int = COUNT) -> Schema:
    """Return the schema of a list of values of one kind."""
    return {"type": "array", "items": items, "maxItems": most}


def integer(low: int, high: int = COUNT) -> Schema:
    """Return the schema of a whole number in a range."""
    return {"type": "integer", "minimum": low, "maximum": high}


def or_null(schema: Schema) -> Schema:
    """Return the schema of null, or a value of some kind."""
    return {"anyOf": [{"type": "null"}, schema]}


def mapping(values: Schema, names: Schema | None = None) -> Schema:
    """Return the schema of an object with values of one kind, and names of any or one kind."""
    schema: Schema = {"type": "object", "additionalProperties": values}
    return schema if names is None else {**schema, "propertyNames": names}


NUMBER: Schema = {"type": "float"}
BOOL: Schema = {"type": "boolean"}
ANY: Schema = {"type": "object"}
TEXT: Schema = {"type": "string", "maxLength": 100_000}
FINGERPRINT: Schema = {"type": "string", "pattern": r"^[0-9a-f]{32}\Z"}
RELATIVE: Schema = {
    "type": "string",
    "maxLength": 4096,
    "pattern": r"^(?![/~])(?!(.*/)?\.\.(/|\Z))[^\x00\\:]+\Z",
}
"""The path of a file inside its folder."""
FILE: Schema = {
    **obj({"bytes": integer(0, 2**60), "checksum": FINGERPRINT}),
    "additionalProperties": False,
}
"""The record of a file; see `creditline.checksum.FileRecord`."""
FILES = mapping(FILE, RELATIVE)
"""Records of files by their path."""


class JsonSchema:
    """A schema that finds the first wrong value.

    Args:
        schema: JSON Schema; integers are Python's, numbers are finite, and a `float` is a number
            that one can hold.
    """

    def __init__(self, schema: Schema) -> None:
        self.schema = schema

    def fault(self, values: Any) -> str | None:
        """Return a description of what is wrong with a value; None if nothing is."""
        from jsonschema.exceptions import relevance

        error = max(self._validator.iter_errors(values), key=relevance, default=None)
        if error is None:
            return None
        while error.context:  # of the alternatives, the one that fits best
            error = max(error.context, key=lambda e: (len(e.absolute_path), e.validator != "type"))
        field = ".".join(str(part) for part in error.absolute_path)
        return (
            f"{field or 'it'} has the value {_short(error.instance)}, which is wrong "
            f"({_short(error.validator)}: {_short(error.validator_value)})"
        )

    @cached_property
    def _validator(self) -> Any:
        from jsonschema import Draft202012Validator
        from jsonschema.validators import extend

        types = Draft202012Validator.TYPE_CHECKER.redefine_many(
            {
                "integer": lambda _, value: _is_integer(value),
                "number": lambda _, value: _is_finite(value),
                "float": lambda _, value: _is_finite(value) and _is_exact(value),
            }
        )
        return extend(Draft202012Validator, type_checker=types)(self.schema)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return _is_integer(value)


def _is_exact(value: Any) -> bool:
    return isinstance(value, float) or abs(value) <= EXACT


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."
