"""Cosine of mean-centered embeddings of an encoder; our own.

Images share most of what an inner product measures with the mean image. How two images differ from
the mean says more about which of them retraining will notice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from creditline.methods.encoder_cosine import EncoderCosine


@dataclass
class EncoderCentered(EncoderCosine):
    """Cosine of mean-centered embeddings of an encoder."""

    name: ClassVar = "encoder-centered"
    title: ClassVar = "Encoder (centered cosine)"
    paper: ClassVar = "encoder-cosine with TRAK's centering"
    formula: ClassVar = "cos(e(q) - ē, e(i) - ē)"
    center: ClassVar = True
