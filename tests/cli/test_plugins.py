"""Commands of other packages, registered by entry points."""

from __future__ import annotations

import sys

import click
import pytest
from click.testing import CliRunner

from creditline.cli.lazy import LazyGroup
from creditline.errors import CreditlineError

COMMAND = """
import click

@click.command(name="toy")
def command():
    click.echo("a toy ran")
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A package on the path with one command, and a group that looks for it."""
    (tmp_path / "toy_command.py").write_text(COMMAND, "utf-8")
    (tmp_path / "toy_spec.py").write_text("TOY = ('toy_command', 'Run a toy.')", "utf-8")
    facts = tmp_path / "toy-1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1\n", "utf-8")
    points = "[creditline.test_commands]\ntoy = toy_spec:TOY\n"
    (facts / "entry_points.txt").write_text(points, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield LazyGroup(
        name="main",
        modules={"info": ("creditline.cli.info", "Show.")},
        plugins="creditline.test_commands",
    )
    for module in ("toy_command", "toy_spec"):
        sys.modules.pop(module, None)


def test_a_registered_command_is_listed_and_runs(toy):
    text = CliRunner().invoke(toy, ["--help"]).stdout
    assert text.index("  info ") < text.index("  toy   Run a toy.")
    assert "toy_command" not in sys.modules, "listed without its module"
    assert CliRunner().invoke(toy, ["toy"]).stdout == "a toy ran\n"


def test_a_built_in_command_looks_for_no_other(toy):
    assert isinstance(toy.get_command(click.Context(toy), "info"), click.Command)
    assert "toy_spec" not in sys.modules


def test_an_unknown_command_suggests_a_registered_one(toy):
    result = CliRunner().invoke(toy, ["toyy"])
    assert isinstance(result.exception, CreditlineError)
    assert "Did you mean 'toy'?" in str(result.exception)
