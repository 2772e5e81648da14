"""The pipelines of the families' tests."""

from __future__ import annotations

from tests.diffusion.families.conftest import captioned, folder, load

__all__ = ["captioned", "folder", "load"]
