"""Projections of gradients: settings, the registry, and one file for each projection."""

from creditline.gradients.projection.layout import Block
from creditline.gradients.projection.settings import Projection

__all__ = ["Block", "Projection"]
