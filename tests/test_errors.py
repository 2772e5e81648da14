"""Errors name what was asked, what was given and what is known."""

from __future__ import annotations

import pytest

from creditline import errors
from creditline.errors import CreditlineError, SettingsError, difference, unknown


def test_everything_refused_on_purpose_is_one_kind_of_error():
    kinds = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)]
    assert len(kinds) >= 6
    assert all(issubclass(kind, CreditlineError) for kind in kinds)
    assert issubclass(SettingsError, ValueError)


@pytest.mark.parametrize(
    ("name", "near"), [("dtrak", "d-trak"), ("tracn", "tracin"), ("zzz", None), (7, None)]
)
def test_an_unknown_name_suggests_the_nearest(name, near):
    message = str(unknown("method", name, ["tracin", "d-trak"]))
    assert f"Unknown method {name!r}." in message
    assert ("Did you mean" in message) == (near is not None)
    assert near is None or f"Did you mean {near!r}?" in message
    assert message.endswith("Known: d-trak, tracin.")


def test_a_difference_lists_both_values_of_every_leaf():
    old = {"a": 1, "b": {"c": [1, 2], "d": {"e": "x"}}, "gone": 0}
    new = {"a": 1, "b": {"c": [1, 3], "d": {"e": "y"}}, "here": None}
    assert difference(old, new) == [
        "  b.c: [1, 2] on disk, [1, 3] asked for",
        "  b.d.e: 'x' on disk, 'y' asked for",
        "  gone: 0 on disk, '(absent)' asked for",
        "  here: '(absent)' on disk, None asked for",
    ]
    assert difference(old, old) == []


def test_a_group_that_became_a_leaf_differs():
    assert difference({"a": {"b": 1}}, {"a": 1}) == ["  a: {'b': 1} on disk, 1 asked for"]
