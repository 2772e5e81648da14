"""Values of the columns that become contributors, captions and classes: one plain text each.

Lists, objects and written-out missing values would otherwise be taken for names or prompts.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from typing import Any, Literal

from creditline.data.captions import Captions
from creditline.data.image_listing import Value
from creditline.errors import DataError
from creditline.fingerprint import key64

CaptionChoice = Literal["one", "first", "random", "all"]

MISSING = frozenset({"NaN", "nan", "<NA>"})
"""How pandas writes a missing value as text."""


def choose_captions(
    values: Sequence[Value], choice: CaptionChoice, column: str, names: Sequence[str]
) -> tuple[list[Value], list[Captions | None] | None]:
    """Choose one caption of images that have several, or all.

    Args:
        values: a text, a list of texts written as JSON or Python, or None, for each image.
        choice: see `MetadataSpec.captions`.
        column: name of the column, for messages.
        names: of the images; a random choice depends on the name alone.

    Returns:
        One caption of each image; and if all are asked for, all captions of images that have
        several, None for any other image.

    Raises:
        DataError: if an image has several captions and `choice` is `"one"`, or a caption is no
            text.
    """
    texts: list[Value] = []
    captions: list[Captions | None] = []
    for value, name in zip(values, names, strict=True):
        parsed = _parse(value)
        if isinstance(parsed, list) and all(isinstance(text, str) for text in parsed):
            several = tuple(text for text in parsed if text)
            texts.append(_choose(several, choice, column, name))
            captions.append(several if len(several) > 1 else None)
            continue
        _require_plain(value, parsed, column, name)
        texts.append(value)
        captions.append(None)
    return texts, captions if choice == "all" else None


def require_plain_values(values: Sequence[Value], column: str, names: Sequence[str]) -> None:
    """Refuse lists, objects and written-out missing values in a column.

    Raises:
        DataError: naming the first image that has one.
    """
    for value, name in zip(values, names, strict=True):
        _require_plain(value, _parse(value), column, name)


def _choose(texts: Captions, choice: CaptionChoice, column: str, name: str) -> Value:
    if len(texts) > 1 and choice == "one":
        raise DataError(
            f"{name} has {len(texts)} captions in column {column!r}, and a model reads one. Take "
            "the first (captions='first', --captions first), draw one by the image's name "
            "(captions='random', --captions random), average over all of them (captions='all', "
            "--captions all), or keep one in the metadata."
        )
    if not texts:
        return None
    at = int(key64("caption", name)[0]) % len(texts) if choice == "random" else 0
    return texts[at]


def _require_plain(value: Value, parsed: Any, column: str, name: str) -> None:
    if isinstance(parsed, (list, dict)):
        kind = "a list" if isinstance(parsed, list) else "an object"
        raise DataError(
            f"{name}: column {column!r} holds {kind}, {str(value)[:60]}, where one text is "
            "expected. Write one text for each image."
        )
    if value in MISSING:
        raise DataError(
            f"{name}: column {column!r} holds {value!r}, which is how missing values are written. "
            "Leave the value empty where it is unknown."
        )


def _parse(value: Value) -> Any:
    """Return the list or object that a text writes out; None if it is plain."""
    text = "" if value is None else value.strip()
    if (text[:1], text[-1:]) not in (("[", "]"), ("{", "}")):
        return None
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
    return None
