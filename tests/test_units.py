"""Sizes, as people write them."""

from __future__ import annotations

import pytest

from creditline.errors import SettingsError
from creditline.units import bytes_of, size


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2GB", 2e9), ("500 MB", 5e8), ("1.5g", 1.5e9), ("64kB", 64e3), ("4096", 4096),
        ("1.5e9", 1.5e9), ("3 TB", 3e12), ("12B", 12),
    ],
)  # fmt: skip
def test_bytes(text, value):
    assert bytes_of(text) == value


@pytest.mark.parametrize("text", ["", "GB", "2 XB", "-1GB", "1.2.3MB", "two"])
def test_what_is_no_size(text):
    with pytest.raises(SettingsError, match="Try 4GB"):
        bytes_of(text)


@pytest.mark.parametrize("text", ["12 bytes", "48.1 MB", "2.0 GB"])
def test_there_and_back(text):
    assert size(bytes_of(text.replace(" bytes", ""))) == text
