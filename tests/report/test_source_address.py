"""Which metadata values become links."""

from __future__ import annotations

import pytest

from creditline.records.hit import LONGEST_VALUE
from creditline.report.source_address import source_address


@pytest.mark.parametrize("column", ["url", "URL", "source_url", "Source_URL"])
@pytest.mark.parametrize(
    "value",
    [
        "https://example.org/a.png",
        "http://example.org",
        "HTTPS://Example.org/?a=1&b='2'\"#c",
        "  https://example.org/Bär🎨.png",
        "http://[::1]:8000/x",
        "https://example.org/@name",
    ],
)
def test_web_addresses_are_links(column, value):
    assert source_address(column, value) == value.strip()


@pytest.mark.parametrize(
    "value",
    [
        "",
        "javascript:alert(1)",
        "JaVaScRiPt://example.org/%0aalert(1)",
        "java\nscript:alert(1)",
        " \x01javascript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "file:///etc/passwd",
        "vbscript:x",
        "blob:https://example.org/1",
        "ftp://example.org/a",
        "//example.org/a",
        "example.org/a.png",
        "#top",
        "https:example.org",
        "https:///example.org",
        "https://",
        "https://[::1",
        "https://example.org\\@other.org",
        "https://example.org@other.org",
        "https://name:secret@example.org",
        "https://example.org/a b",
        "https://example.org/a\tb",
        "https://example.org/\u202egnp.a",
        "https://example.org/\u2066a",
        "https://example.org/" + "a" * LONGEST_VALUE,
    ],
)
def test_other_values_are_text(value):
    assert source_address("url", value) is None


@pytest.mark.parametrize("column", ["link", "homepage", "url2", "image url", ""])
def test_other_columns_are_text(column):
    assert source_address(column, "https://example.org/a.png") is None
