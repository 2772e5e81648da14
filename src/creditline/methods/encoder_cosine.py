"""Cosine of an encoder's embeddings: similarity, without the attributed model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from creditline.methods.encoder_dot import EncoderDot


@dataclass
class EncoderCosine(EncoderDot):
    """Cosine of an encoder's embeddings."""

    name: ClassVar = "encoder-cosine"
    title: ClassVar = "Encoder (cosine)"
    formula: ClassVar = "cos(e(q), e(i))"
    capabilities: ClassVar = replace(EncoderDot.capabilities, scale_free=True)
