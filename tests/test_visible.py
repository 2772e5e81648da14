"""Text that is only shown: no character of a name acts on a terminal."""

from __future__ import annotations

import pytest

from creditline.errors import CreditlineError, unknown
from creditline.visible import LIMIT, shorten, visible


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("a\rb\nc\td", r"a\rb\nc\td"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("a\u2028b\u2029c", r"a\u2028b\u2029c"),
        ("\ud800", r"\ud800"),
    ],
)
def test_characters_that_act_become_escapes(text, output):
    assert visible(text) == output


@pytest.mark.parametrize("text", ["Žofie", "日本語", "👩‍🎨", "e\u0301", "عربي", "a\\x1b", "plain"])
def test_names_of_all_scripts_stay(text):
    assert visible(text) == text


def test_line_ends_of_our_own_text_stay():
    assert visible("one\ntwo\x1b", keep="\n") == "one\ntwo\\x1b"


def test_a_long_text_keeps_both_ends():
    text = shorten("what was asked " + "x" * 10_000 + " what to do", 100)
    assert len(text) == 100
    assert text.startswith("what was asked")
    assert text.endswith("what to do")


def test_messages_of_errors_are_visible_and_bounded():
    text = str(CreditlineError(f"Bad \x1b[2J\u202e: {'y' * 9000} Rename it."))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert len(text) == LIMIT
    assert text.endswith("Rename it.")


def test_unknown_names_do_not_list_thousands():
    text = str(unknown("column", "x", [f"column {i:04}" for i in range(3000)]))
    assert "and 2960 more" in text
    assert len(text) < 1000
