"""Every tool can be started the way the Makefile and the docs say."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = sorted(path.stem for path in (ROOT / "tools").glob("*.py") if path.stem != "__init__")
SCRIPT, MODULE = re.compile(r"python tools/(\w+)\.py"), re.compile(r"python -m tools\.(\w+)")


@pytest.mark.slow
@pytest.mark.parametrize("name", TOOLS)
def test_it_is_a_module(name):
    assert importlib.import_module(f"tools.{name}")


@pytest.mark.parametrize(
    "name",
    ["Makefile", "README.md", *(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md"))],
)
def test_commands(name):
    text = (ROOT / name).read_text("utf-8")
    assert set(SCRIPT.findall(text)) | set(MODULE.findall(text)) <= set(TOOLS)
    for script in SCRIPT.findall(text):  # finds no other tool beside it
        assert "from tools" not in (ROOT / "tools" / f"{script}.py").read_text("utf-8")
