"""Cosine of mean-centered gradients; our own.

    score(q, i) = cos(phi_q - mean phi, phi_i - mean phi)

Ridge methods subtract the mean training gradient from both sides too. This method shows which part
of their gain is due to centering alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from creditline.methods.gradient_cosine import GradientCosine


@dataclass
class GradientCentered(GradientCosine):
    """Cosine of mean-centered loss gradients."""

    name: ClassVar = "gradient-centered"
    title: ClassVar = "Gradient (centered cosine)"
    paper: ClassVar = "gradient-cosine with TRAK's centering"
    formula: ClassVar = "cos(φ_q - φ̄, φ_i - φ̄)"
    center: ClassVar = True
