"""How large the networks of small pipelines are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TINY_BLOCKS = {
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "norm_num_groups": 4,
}
MODERATE_BLOCKS = {
    "block_out_channels": (64, 128, 256, 256),
    "layers_per_block": 2,
    "norm_num_groups": 32,
}


@dataclass(frozen=True)
class Size:
    """Sizes that the families share.

    Attributes:
        side: of the latents; the autoencoders halve an image.
        hidden: width of a CLIP encoder, and of what cross-attention sees.
        blocks: of the U-Nets, which attend in their last ones.
        heads, head: of attention, and the width of each.
        layers: of the transformers.
    """

    side: int
    hidden: int
    blocks: Mapping[str, Any]
    heads: int
    head: int
    layers: int

    @property
    def width(self) -> int:
        """Of the transformers."""
        return self.heads * self.head


TINY = Size(8, 16, TINY_BLOCKS, 2, 8, 2)
"""A few thousand parameters: everything about them takes a moment."""

MODERATE = Size(16, 256, MODERATE_BLOCKS, 4, 64, 5)
"""Millions of parameters: what they cost is what they calculate, not Python."""
