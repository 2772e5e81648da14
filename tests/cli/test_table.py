"""Plain text tables."""

from __future__ import annotations

import pytest

from creditline.cli.table import WIDTH, facts, grid, middle, table
from creditline.units import duration, size


def test_numbers_align_at_their_end():
    assert table(["name", "n"], [["a", "5"], ["long name", "500"]], right=[1]).splitlines() == [
        "name         n",
        "a            5",
        "long name  500",
    ]


def test_a_long_name_keeps_both_ends_and_the_table_its_width():
    name = "folder/" + "x" * 200 + "/last.png"
    text = table(["", "name", "score"], [["1", name, "+0.5"]], right=[2], indent=2)
    line = text.splitlines()[1]
    assert len(line) <= WIDTH
    assert "folder/" in line
    assert line.endswith("/last.png   +0.5")


def test_middle_has_the_asked_width():
    assert [len(middle("abcdefghij", w)) for w in (4, 5, 9, 10, 11)] == [4, 5, 9, 10, 10]


def test_cells_of_a_grid_wrap_and_keep_no_word_back():
    text = grid(["a", "b"], [["one two three", "x\ny"]], [7, 3])
    assert text.split("\n\n")[1].splitlines() == ["one two  x", "three    y"]


def test_facts_wrap_under_their_value():
    text = facts([("n", "1"), ("words", "word " * 40)])
    lines = text.splitlines()
    assert lines[0] == "  n      1"
    assert len(lines) == 4
    assert all(len(line) <= WIDTH for line in lines)
    assert lines[2].startswith(" " * 9 + "word")


@pytest.mark.parametrize(
    ("n", "text"),
    [(12, "12 bytes"), (19_900, "19.9 kB"), (48_100_000, "48.1 MB"), (2e12, "2000.0 GB")],
)
def test_sizes(n, text):
    assert size(n) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0421, "42 ms"),
        (0.64, "0.6 s"),
        (59.9, "59.9 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
