"""All captions of images that have several, beside the first caption of each image."""

from __future__ import annotations

import json
from collections.abc import Sequence

from creditline.data.names import require_unicode
from creditline.errors import DataError

Captions = tuple[str, ...]


def check_captions(
    captions: Sequence[Sequence[str] | None], texts: Sequence[str | None], names: Sequence[str]
) -> tuple[Captions | None, ...]:
    """Return all captions of each image as tuples.

    Args:
        captions: two or more texts for an image that has several captions, None for any other.
        texts: first caption of each image.
        names: of the images, for messages.

    Raises:
        DataError: if there are not as many as images, or an image's do not begin with its text.
    """
    if len(captions) != len(names):
        raise DataError(f"{len(names)} images need {len(names)} captions; got {len(captions)}.")
    checked = tuple(None if several is None else tuple(several) for several in captions)
    for several, text, name in zip(checked, texts, names, strict=True):
        if several is None:
            continue
        if len(several) < 2 or several[0] != text:
            raise DataError(
                f"{name} has the text {text!r} and the captions {list(several)}. Give two captions "
                "or more, the text first, or None where an image has one."
            )
        require_unicode("captions", several)
    return checked


def write_captions(several: Captions | None) -> str | None:
    """Write the captions of an image as a JSON list."""
    return None if several is None else json.dumps(list(several), ensure_ascii=False)


def read_captions(column: Sequence[str | None]) -> tuple[Captions | None, ...]:
    """Read what `write_captions` wrote, for each image."""
    return tuple(None if value is None else tuple(json.loads(value)) for value in column)
