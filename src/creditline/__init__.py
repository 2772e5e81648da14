"""Creditline: which training images, and whose, does a generated picture owe most to?"""

from __future__ import annotations

__version__ = "0.1.0"
