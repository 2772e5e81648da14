"""Preconditioning of explicit gradients before the projection."""

from creditline.gradients.preconditioning.settings import Preconditioning

__all__ = ["Preconditioning"]
