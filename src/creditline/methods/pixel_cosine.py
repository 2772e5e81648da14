"""Cosine of raw pixels: similarity, without the attributed model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from creditline.methods.pixel_dot import PixelDot


@dataclass
class PixelCosine(PixelDot):
    """Cosine of raw pixels."""

    name: ClassVar = "pixel-cosine"
    title: ClassVar = "Raw pixel (cosine)"
    formula: ClassVar = "cos(x_q, x_i)"
    capabilities: ClassVar = replace(PixelDot.capabilities, scale_free=True, baseline=True)
