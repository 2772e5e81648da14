"""The README is short and says what is there. Its code runs in `test_docs_code.py`."""

from __future__ import annotations

import re

import yaml
from tests.docs.blocks import ROOT, blocks

import creditline
from creditline.methods import names

README = (ROOT / "README.md").read_text("utf-8")
SECTIONS = ["Install", "Quickstart", "Models", "Methods", "Results", "Limits", "Documentation"]
SECTIONS += ["Citation", "Contributing", "License"]


def test_it_has_at_most_900_words():
    assert len(README.split()) <= 900


def test_its_sections_are_in_order():
    assert re.findall(r"^## (.+)$", README, re.MULTILINE) == SECTIONS


def test_every_method_is_in_the_table():
    table = README.split("## Methods")[1].split("##")[0]
    cells = " ".join(re.findall(r"^\|([^|]+)\|", table, re.MULTILINE))
    assert set(re.findall(r"`([a-z-]+)`", cells)) == set(names())


def test_it_counts_the_methods():
    (others,) = re.findall(r"D-TRAK, TRAK, (\d+) other methods", README)
    assert int(others) == len(names()) - 2


def test_the_commands_of_make_are_in_the_makefile():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"make ([a-z-]+)", README))
    assert {"demo", "check", "test"} <= targets
    assert all(f"\n{target}:" in makefile for target in targets)


def test_its_python_runs():
    languages = [block.language for block in blocks("README.md") if block.reason is None]
    assert "python" in languages


def test_limits_are_five():
    assert len(re.findall(r"^- ", README.split("## Limits")[1].split("##")[0], re.MULTILINE)) == 5


def test_files_that_are_linked_exist():
    for page in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / page).read_text("utf-8")
        for name in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (ROOT / name).exists(), f"{page}: {name}"


def test_the_citation_has_the_version_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == creditline.__version__
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
