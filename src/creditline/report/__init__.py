"""What a person looks at: the report of a trace as one HTML page, and contact sheets."""

from __future__ import annotations

from creditline.report.page import fragment, render, write
from creditline.report.sheet import sheet

__all__ = ["fragment", "render", "sheet", "write"]
