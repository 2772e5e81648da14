"""Settings chosen on other ground truths: which one, on what, and what they are compared with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from creditline.benchmarks.results import write_result
from creditline.errors import SettingsError
from creditline_research.studies.curvature_dampings import DampingResult, DampingRow
from creditline_research.studies.left_out import leave_one_out
from creditline_research.tables.left_out import left_out_table, own_settings_table


def result(case, held_out, generated, timesteps=50, method="TRAK"):
    """LDS by damping; 1 is the method's own."""
    rows = [
        DampingRow(
            method,
            str(i),
            "plain",
            i == 1,
            {"validation": (a, a, a), "generated": (b, b, b)},
        )
        for i, (a, b) in enumerate(zip(held_out, generated, strict=True))
    ]
    rows.append(DampingRow("less", "", "", True, {"validation": (0.0,) * 3}))
    ceilings = {"validation": 1.0, "generated": 0.5}
    return DampingResult(case, timesteps, 48, ceilings, tuple(rows))


A = result("a", (0.9, 0.5, 0.1), (0.9, 0.5, 0.1))
B = result("b", (0.02, 0.04, 0.01), (0.02, 0.04, 0.01))
C = result("c", (0.1, 0.2, 0.4), (0.1, 0.2, 0.4))


def test_the_left_out_ground_truth_has_no_part_in_the_choice():
    by_case = {row.case: row for row in leave_one_out([A, B, C])}
    assert by_case["a"].choice.damping == "1"  # b and c: 0.375, 0.75, 0.625
    assert by_case["b"].choice.damping == "0"  # a and c: 0.625, 0.53, 0.56
    assert by_case["c"].choice.damping == "1"  # a and b: 0.75, 0.78, 0.18
    assert by_case["a"].largest == {"validation": 0.9, "generated": 0.9}
    assert by_case["a"].shares(by_case["a"].choice) == pytest.approx([0.5 / 0.9] * 2)


def test_a_ground_truth_with_high_lds_counts_no_more_than_another():
    choices = [row.choice.damping for row in leave_one_out([A, B, C]) if row.case == "c"]
    tall = result("a", (0.09, 0.05, 0.01), (0.09, 0.05, 0.01))
    assert choices == [row.choice.damping for row in leave_one_out([tall, B, C]) if row.case == "c"]


def test_settings_that_one_result_lacks_take_no_part():
    short = replace(B, case="d", rows=B.rows[:2])
    assert {row.choice.damping for row in leave_one_out([A, C, short])} <= {"0", "1"}


def test_the_methods_own_setting_is_judged_beside_it():
    lines = left_out_table(leave_one_out([A, B, C])).splitlines()
    assert len(lines) == 2 + 3 + 1
    assert "| TRAK | a | 1 | 50.0 / 50.0 | 56% / 56% | 50.0 / 50.0 | 56% / 56% |" in lines
    assert lines[-1].startswith("| TRAK | mean |")
    assert lines[-1].endswith("| 69% / 69% |")  # 5/9, 1, 1/2


def test_own_settings_are_shown_as_shares_of_the_ceiling():
    lines = own_settings_table(leave_one_out([A, B, C])).splitlines()
    assert "| TRAK | a | 50.0 (50.0 to 50.0) | 50.0 (50.0 to 50.0) | 50% / 100% |" in lines
    assert lines[-1].endswith("| 25% / 49% |")


def test_without_a_second_seed_there_is_no_share():
    one = replace(C, ceilings={"validation": None, "generated": None})
    assert "nan% / nan%" not in own_settings_table(leave_one_out([A, B, one]))


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ([A, B], "three or more"),
        ([A, B, A], "three or more"),
        ([A, B, result("c", (1,), (1,), timesteps=10)], "number of timesteps"),
        ([A, B, replace(C, ceilings={"generated": 1.0})], "two folders of queries"),
        ([A, B, replace(C, rows=C.rows[:1])], "lacks TRAK's own setting"),
    ],
)
def test_what_cannot_be_rotated_is_refused(results, words):
    with pytest.raises(SettingsError, match=words):
        leave_one_out(results)


def test_a_file_of_something_else_is_refused(tmp_path):
    write_result(tmp_path / "other.json", {"rows": []})
    with pytest.raises(SettingsError, match="research curvature"):
        DampingResult.read(tmp_path / "other.json")
