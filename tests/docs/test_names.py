"""Names of code that the docs mention exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from importlib import import_module

import pytest
from tests.docs.blocks import PAGES, ROOT

CODE = re.compile(r"`([^`\n]+)`")
CLASS = re.compile(r"^(?:[A-Z][a-z]+){2,}\w*$")
GROUPS = ("creditline.families", "creditline.executors")  # of entry points, not modules
RECORD = "creditline.json"  # a file
THIRD_PARTY = ("diffusers", "transformers")


@cache
def classes() -> frozenset[str]:
    """The names of all classes of the packages."""
    trees = (ast.parse(path.read_text("utf-8")) for path in (ROOT / "src").rglob("*.py"))
    return frozenset(
        n.name for tree in trees for n in ast.walk(tree) if isinstance(n, ast.ClassDef)
    )


def mentioned(page: str, pattern: re.Pattern[str]) -> list[str]:
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text("utf-8"), flags=re.M | re.S)
    return [word for word in CODE.findall(text) if pattern.match(word)]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_classes_exist(page):
    for name in mentioned(page, CLASS):
        known = name in classes() or any(name in dir(import_module(m)) for m in THIRD_PARTY)
        assert known, f"{page} mentions {name}, which is no class"


@pytest.mark.parametrize("page", PAGES)
def test_modules_and_their_names_exist(page):
    for dotted in mentioned(page, re.compile(r"^creditline(_research)?(\.\w+)*$")):
        if dotted in GROUPS or dotted == RECORD:
            continue
        module, *rest = dotted.split(".")
        value = import_module(module)
        for part in rest:
            module = f"{module}.{part}"
            value = getattr(value, part, None) or import_module(module)


@pytest.mark.parametrize("page", PAGES)
def test_files_of_the_repository_exist(page):
    for path in mentioned(page, re.compile(r"^(src|tests|tools|examples|docs)/[\w/.-]+$")):
        assert (ROOT / path).exists(), f"{page} mentions {path}, which does not exist"


def test_new_names_of_the_changelog_exist():
    table = (ROOT / "CHANGELOG.md").read_text("utf-8").split("| Before | Now |")[1]
    rows = re.findall(r"^\| `[^|]+\|([^|]+)\|$", table, re.MULTILINE)
    assert len(rows) == 20
    names = [name for row in rows for name in CODE.findall(row) if re.fullmatch(r"[A-Z]\w+", name)]
    assert set(names) <= classes()
