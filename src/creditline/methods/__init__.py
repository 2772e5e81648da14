"""Attribution methods by name."""

from __future__ import annotations

from creditline.errors import unknown
from creditline.methods.base import Method
from creditline.methods.d_trak import DTRAK
from creditline.methods.gradient import GradientCentered, GradientCosine, GradientDot
from creditline.methods.journey_trak import JourneyTRAK
from creditline.methods.relative_if import RelativeIF
from creditline.methods.renormalized_if import RenormalizedIF
from creditline.methods.similarity import (
    EncoderCentered,
    EncoderCosine,
    EncoderDot,
    PixelCentered,
    PixelCosine,
    PixelDot,
)
from creditline.methods.tracin import GAS, TracInCP
from creditline.methods.trak import TRAK

METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        PixelDot,
        PixelCosine,
        PixelCentered,
        EncoderDot,
        EncoderCosine,
        EncoderCentered,
        GradientDot,
        GradientCosine,
        GradientCentered,
        TracInCP,
        GAS,
        TRAK,
        DTRAK,
        RelativeIF,
        RenormalizedIF,
        JourneyTRAK,
    )
}


def get(name: str) -> type[Method]:
    """The method class registered as `name`.

    Raises:
        SettingsError: if there is none; the message suggests the nearest.
    """
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    return METHODS[name]


__all__ = ["METHODS", "Method", "get"]
