"""The group of checks: listed without their modules, found by name."""

from __future__ import annotations

import pytest

from creditline.cli.evaluate import COMMANDS


def test_help_lists_every_check(run):
    text = run("evaluate", "--help").stdout
    assert all(f"  {name} " in text for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_check(run, name):
    text = run("evaluate", name, "--help").stdout
    assert text.startswith(f"Usage: main evaluate {name} ")
    assert "None" not in text


def test_an_unknown_check_suggests_the_nearest(refused):
    assert "Did you mean 'agreement'?" in refused("evaluate", "agrement")
