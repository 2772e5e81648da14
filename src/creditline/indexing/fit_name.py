"""The name under which results of fitting are stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from creditline import fingerprint


def fit_name(request: Mapping[str, Any]) -> str:
    """Return the name of an index's contents, which no other request has."""
    return fingerprint.of_json(request)[:12]
