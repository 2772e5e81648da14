"""Comparing saved scores: equal to the last bit, or not."""

from __future__ import annotations

import numpy as np
import pytest
from tools.compare_scores import main


@pytest.fixture
def saved(tmp_path):
    """Writes arrays to a file."""

    def write(name, **arrays):
        np.savez(tmp_path / name, **arrays)
        return str(tmp_path / f"{name}.npz")

    return write


def test_equal_arrays_pass(saved, capsys):
    values = np.array([0.1, np.nan, -0.0])
    assert main(["compare", saved("a", x=values), saved("b", x=values.copy())]) == 0
    assert "all equal" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.nextafter(np.ones(2), 2), "by up to 2.22e-16"),
        (np.ones(3), "float64 (2,) and float64 (3,)"),
        (np.ones(2, np.float32), "float64 (2,) and float32 (2,)"),
    ],
)
def test_any_difference_fails(saved, capsys, values, message):
    assert main(["compare", saved("a", x=np.ones(2)), saved("b", x=values)]) == 1
    assert message in capsys.readouterr().out


def test_missing_arrays_fail_and_keys_are_renamed(saved, capsys):
    old, new = saved("a", old=np.ones(2)), saved("b", new=np.ones(2))
    assert main(["compare", old, new]) == 1
    out = capsys.readouterr().out
    assert "only in the old file" in out
    assert "only in the new file" in out
    assert main(["compare", old, new, "--rename", "old=new"]) == 0
