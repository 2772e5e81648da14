"""The README says what is there."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

import creditline
from creditline.cli import main
from creditline.methods import classes

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def test_every_method_is_in_the_table():
    table = README.split("## Methods")[1].split("\n\n")[1]
    assert set(re.findall(r"`([a-z-]+)`", table)) == set(classes())


def commands(text: str) -> list[list[str]]:
    lines = re.findall(r"^ {4}(creditline [^#\n]*)", text, re.MULTILINE)
    return [line.split()[1:] for line in lines]


@pytest.mark.parametrize("words", commands(README), ids=" ".join)
def test_commands_and_their_options_exist(words):
    command: click.Command = main
    context = click.Context(command)
    while isinstance(command, click.Group):
        found = command.get_command(context, words[0])
        assert found is not None, words
        command, words = found, words[1:]
    known = {option for p in command.params for option in (*p.opts, *p.secondary_opts)}
    for word in words:
        if word.startswith("-"):
            assert word in known, f"{word} is no option of {command.name}"


def test_names_used_in_python_exist():
    code = README.split("```python")[1].split("```")[0]
    for name in re.findall(r"\bcl\.(\w+)", code):
        assert hasattr(creditline, name)


def test_files_that_are_named_exist():
    for name in re.findall(r"\]\(([^)#:]+)\)", README) + re.findall(r"`(docs/[^`]+)`", README):
        assert (ROOT / name).exists(), name
