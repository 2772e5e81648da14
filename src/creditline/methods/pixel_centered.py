"""Cosine of mean-centered raw pixels; our own.

Images share most of what an inner product measures with the mean image. How two images differ from
the mean says more about which of them retraining will notice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from creditline.methods.pixel_cosine import PixelCosine


@dataclass
class PixelCentered(PixelCosine):
    """Cosine of mean-centered raw pixels."""

    name: ClassVar = "pixel-centered"
    title: ClassVar = "Raw pixel (centered cosine)"
    paper: ClassVar = "pixel-cosine with TRAK's centering"
    formula: ClassVar = "cos(x_q - x̄, x_i - x̄)"
    center: ClassVar = True
