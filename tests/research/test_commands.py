"""Research commands: registered by entry points, listed and found beside those of the library."""

from __future__ import annotations

import tomllib
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from creditline.errors import SettingsError
from creditline_research.cli import COMMANDS, command

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
GROUPS = ("creditline.commands", "creditline.commands.evaluate")


@pytest.mark.parametrize("group", GROUPS)
def test_entry_points_lead_to_commands(group):
    for name, value in PROJECT["project"]["entry-points"][group].items():
        module, summary = EntryPoint(name, value, group).load()
        click_command = import_module(module).command
        assert isinstance(click_command, click.Command)
        assert click_command.name == name
        assert summary.endswith(".")


def test_the_commands_are_there_beside_the_librarys(run):
    assert "  research " in run("--help").stdout
    assert "  recipe " in run("evaluate", "--help").stdout
    assert run("evaluate", "recipe", "--help").stdout.startswith("Usage: main evaluate recipe ")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_table(name):
    text = CliRunner().invoke(command, [name, "--help"]).stdout
    assert text.startswith(f"Usage: research {name} ")


def test_a_table_of_an_unknown_benchmark_suggests_the_nearest():
    result = CliRunner().invoke(command, ["dampings", "icon"])
    assert "Did you mean 'icons'" in str(result.exception)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("icons", "--model", "m"),
        ("--model", "m", "--images", "i", "--ground-truth", "t"),
        ("--model", "m", "--images", "i", "--queries", "q", "--ground-truth", "t", "--data", "d"),
    ],
)
def test_a_study_takes_a_benchmark_or_a_model_with_all_it_needs(words):
    outcome = CliRunner().invoke(command, ["curvature", *words])
    assert isinstance(outcome.exception, SettingsError)
    assert "NAME of a benchmark, or all of --model" in str(outcome.exception)
