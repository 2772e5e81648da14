"""Inner product of raw pixels: similarity, without the attributed model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from creditline.methods.capabilities import Capabilities
from creditline.methods.inner_product import InnerProduct


@dataclass
class PixelDot(InnerProduct):
    """Inner product of raw pixels."""

    name: ClassVar = "pixel-dot"
    title: ClassVar = "Raw pixel (dot)"
    paper: ClassVar = "baseline of Zheng et al., ICLR 2024"
    formula: ClassVar = "⟨x_q, x_i⟩"
    needs: ClassVar = "images only"
    cost: ClassVar = "one pass over the pixels"
    capabilities: ClassVar = Capabilities(
        kind="bilinear",
        features="pixels",
        causal=False,
        self_influence=True,
        searchable=True,
        updatable=True,
    )
