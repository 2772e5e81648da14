"""The report of a trace as one HTML page."""

from __future__ import annotations

from creditline.report.page import fragment, render, write

__all__ = ["fragment", "render", "write"]
