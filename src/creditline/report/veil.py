"""A query image whose surroundings of the traced region are grayed out."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

from creditline.data.decode import decode
from creditline.records import QueryTrace

VEIL = np.array([150.0, 146.0, 138.0])
"""A tone that shows on white and on black."""
OPACITY = 0.7


def veil(query: QueryTrace) -> bytes:
    """Return the query image as PNG, everything outside its region grayed out."""
    if query.region is None:
        return query.image
    image = decode(query.image, f"The image of {query.name}").convert("RGB")
    mask = decode(query.region.mask, f"The mask of {query.name}").convert("L").resize(image.size)
    opacity = OPACITY * (1.0 - np.asarray(mask, np.float64) / 255.0)[..., None]
    veiled = np.asarray(image) * (1.0 - opacity) + VEIL * opacity
    buffer = BytesIO()
    Image.fromarray(np.rint(veiled).astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()
