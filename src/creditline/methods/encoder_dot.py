"""Inner product of an encoder's embeddings: similarity, without the attributed model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from creditline.methods.capabilities import Capabilities
from creditline.methods.inner_product import InnerProduct
from creditline.settings import setting


@dataclass
class EncoderDot(InnerProduct):
    """Inner product of an encoder's embeddings."""

    name: ClassVar = "encoder-dot"
    title: ClassVar = "Encoder (dot)"
    paper: ClassVar = "baseline of Zheng et al., ICLR 2024 (CLIP)"
    formula: ClassVar = "⟨e(q), e(i)⟩"
    needs: ClassVar = "an encoder: a CLIP or DINO folder, or any callable"
    cost: ClassVar = "n encoder passes; one per query"
    capabilities: ClassVar = Capabilities(
        kind="bilinear",
        features="encoder",
        causal=False,
        self_influence=True,
        searchable=True,
        updatable=True,
    )

    encoder: str = setting(
        "", "folder or hub name of a CLIP or DINO model (transformers)", affects="features"
    )
