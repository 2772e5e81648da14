"""Every class of models does what the table in docs/results/models.md says."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("peft")
pytest.importorskip("transformers")

from tools.model_checks import CASES, examine

TITLES = [case.title for case in CASES]
PAGE = Path(__file__).parents[2] / "docs" / "results" / "models.md"


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """`folder(title)`: where a model's files are, written once."""
    places = {title: tmp_path_factory.mktemp("model") for title in TITLES}
    return places.__getitem__


@pytest.mark.slow
@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize(
    "case",
    [CASES[0], *(pytest.param(case, marks=pytest.mark.long) for case in CASES[1:])],
    ids=TITLES,
)
def test_every_class_trains_generates_and_is_attributed(case, lora, folder):
    row = examine(case, lora, folder(case.title))
    assert row.error <= 1e-5
    assert row.trains
    assert row.generates
    assert row.traces
    assert row.doctor


def test_the_page_shows_every_class():
    rows = [line.split("|") for line in PAGE.read_text("utf-8").splitlines() if "| " in line]
    rows_shown = {(row[1].strip(), row[2].strip()) for row in rows if len(row) > 3}
    assert {(title, tuned) for title in TITLES for tuned in ("full", "LoRA")} <= rows_shown
