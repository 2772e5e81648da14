"""CSV in which a spreadsheet program finds no formula."""

from __future__ import annotations

import csv

import pandas as pd
import pytest

from creditline.csv_table import csv_cell, original_text, write_csv

FORMULAS = ["=cmd|'/c calc'!A0", "+1+1", "-2+3", "@SUM(1,1)", "\t=1", "\r=1", " =1", "'=1", "＝1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_text_that_begins_as_a_formula_gets_an_apostrophe(text):
    assert csv_cell(text) == f"'{text}"
    assert csv_cell(text)[1:] == original_text(csv_cell(text)) == text


@pytest.mark.parametrize("value", ["Anna", "a=b", "'quoted'", "", None, -1.5, 3, True])
def test_other_cells_stay(value):
    assert csv_cell(value) == value
    assert not isinstance(value, str) or original_text(value) == value


def test_numbers_stay_numbers_and_no_cell_or_column_begins_a_formula(tmp_path):
    frame = pd.DataFrame({"=name": FORMULAS, "score": [-1.25] * len(FORMULAS), "label": None})
    write_csv(frame, tmp_path / "t.csv")
    with open(tmp_path / "t.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    assert rows[0] == ["'=name", "score", "label"]
    assert [row[1] for row in rows[1:]] == ["-1.25"] * len(FORMULAS)
    assert all(row[0].startswith("'") for row in rows[1:])


def test_ordinary_tables_are_as_pandas_writes_them(tmp_path):
    frame = pd.DataFrame({"name": ["a", None], "n": [1, 2], "x": [0.1, None], "b": [True, False]})
    write_csv(frame, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == frame.to_csv(index=False)
