"""The fingerprint of an image set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from creditline.data.captions import Captions
from creditline.fingerprint import of_json


def fingerprint_images(
    ids: Sequence[str],
    labels: Sequence[int | None],
    texts: Sequence[str | None],
    spec: Mapping[str, Any],
    masks: Sequence[str | None] | None = None,
    captions: Sequence[Captions | None] | None = None,
) -> str:
    """Hash what an image set consists of; see `ImageSet.fingerprint`."""
    parts: dict[str, Any] = {"ids": ids, "labels": labels, "texts": texts, "spec": spec}
    optional = {"masks": masks, "captions": captions}
    return of_json(parts | {name: part for name, part in optional.items() if part is not None})
