"""Residuals beside the gradients of an image; a feature set of DAS, and no method by itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from creditline.methods.gradient_dot import GradientDot


@dataclass
class Residuals(GradientDot):
    """Errors of the network on an image; see `creditline.features.residuals`."""

    capabilities: ClassVar = replace(GradientDot.capabilities, features="residuals")
