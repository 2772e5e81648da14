"""Likeness without training: raw pixels, and embeddings of an encoder such as CLIP or DINO.

    score(q, i) = <v_q, v_i>   or its cosine, or that of v less its mean over the training images

Seams: pixels in [-1, 1] (latents for latent models), or an encoder's embedding; no gradient, no
curvature. A high score says that two pictures look alike, not that one was learnt from the other.
The centered cosine is our own: pictures share most of their pixels with the mean picture, and what
sets two apart from it in the same way is the likeness that retraining notices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from creditline.methods.base import SourceKind
from creditline.methods.inner_product import InnerProduct
from creditline.settings import setting


@dataclass
class PixelDot(InnerProduct):
    """Inner product of raw pixels."""

    name: ClassVar = "pixel-dot"
    title: ClassVar = "Raw pixel (dot)"
    paper: ClassVar = "baseline of Zheng et al., ICLR 2024"
    formula: ClassVar = "⟨x_q, x_i⟩"
    needs: ClassVar = "images only"
    cost: ClassVar = "one pass over the pixels"
    causal: ClassVar = False
    source: ClassVar[SourceKind] = "pixels"


@dataclass
class PixelCosine(PixelDot):
    """Cosine of raw pixels."""

    name: ClassVar = "pixel-cosine"
    title: ClassVar = "Raw pixel (cosine)"
    formula: ClassVar = "cos(x_q, x_i)"
    cosine: ClassVar = True


@dataclass
class PixelCentered(PixelCosine):
    """Cosine of what sets pictures apart from the mean training picture."""

    name: ClassVar = "pixel-centered"
    title: ClassVar = "Raw pixel (centered cosine)"
    paper: ClassVar = "pixel-cosine with TRAK's centering"
    formula: ClassVar = "cos(x_q - x̄, x_i - x̄)"
    center: ClassVar = True


@dataclass
class EncoderDot(InnerProduct):
    """Inner product of an encoder's embeddings."""

    name: ClassVar = "encoder-dot"
    title: ClassVar = "Encoder (dot)"
    paper: ClassVar = "baseline of Zheng et al., ICLR 2024 (CLIP)"
    formula: ClassVar = "⟨e(q), e(i)⟩"
    needs: ClassVar = "an encoder: a CLIP or DINO folder, or any callable"
    cost: ClassVar = "n encoder passes; one per query"
    causal: ClassVar = False
    source: ClassVar[SourceKind] = "encoder"

    encoder: str = setting("", "folder or hub name of a CLIP or DINO model (transformers)")


@dataclass
class EncoderCosine(EncoderDot):
    """Cosine of an encoder's embeddings."""

    name: ClassVar = "encoder-cosine"
    title: ClassVar = "Encoder (cosine)"
    formula: ClassVar = "cos(e(q), e(i))"
    cosine: ClassVar = True


@dataclass
class EncoderCentered(EncoderCosine):
    """Cosine of what sets embeddings apart from the mean training embedding."""

    name: ClassVar = "encoder-centered"
    title: ClassVar = "Encoder (centered cosine)"
    paper: ClassVar = "encoder-cosine with TRAK's centering"
    formula: ClassVar = "cos(e(q) - ē, e(i) - ē)"
    center: ClassVar = True
