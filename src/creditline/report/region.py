"""A traced region, drawn on its picture: what does not count is veiled."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

from creditline.trace import QueryTrace

VEIL = np.array([150.0, 146.0, 138.0])
"""Of a tone that shows on white and on black."""
COVER = 0.7


def pictured(query: QueryTrace) -> bytes:
    """PNG of the traced picture, everything outside its region under a veil."""
    if query.region is None:
        return query.image
    picture = Image.open(BytesIO(query.image)).convert("RGB")
    mask = Image.open(BytesIO(query.region.mask)).convert("L").resize(picture.size)
    covered = COVER * (1.0 - np.asarray(mask, np.float64) / 255.0)[..., None]
    veiled = np.asarray(picture) * (1.0 - covered) + VEIL * covered
    buffer = BytesIO()
    Image.fromarray(np.rint(veiled).astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()
