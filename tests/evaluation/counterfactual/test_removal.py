"""The training images that a counterfactual removes."""

from __future__ import annotations

import numpy as np
import pytest

from creditline.errors import SettingsError
from creditline.evaluation.counterfactual.removal import (
    BASELINES,
    NOTHING,
    OTHER_SEED,
    check_scores,
    plan_removals,
    select_least,
    select_random,
    select_top,
)

SCORES = {
    "one": np.array([[3.0, -9.0, 1.0, 2.0, 0.0], [0.0, 1.0, 2.0, 3.0, -4.0]]),
    "two": np.array([[0.0, 0.0, 0.0, 0.0, 5.0], [1.0, 1.0, 1.0, 1.0, 1.0]]),
}
IDS = ("a", "b")


def rows(removals, rule, k):
    return {r.targets: r.rows for r in removals if (r.rule, r.k) == (rule, k)}


def test_top_takes_proponents_and_least_takes_neither_side():
    scores = SCORES["one"][0]
    assert select_top(scores, 2).tolist() == [0, 3]
    assert select_least(scores, 2).tolist() == [4, 2]
    assert select_top(np.zeros(4), 3).tolist() == [0, 1, 2]


def test_random_removal_is_nested_and_its_own_for_each_target():
    large, small = select_random(50, 20, 0, "a"), select_random(50, 5, 0, "a")
    assert large[:5].tolist() == small.tolist()
    assert len(set(large.tolist())) == 20
    assert large.tolist() != select_random(50, 20, 0, "b").tolist()
    assert large.tolist() != select_random(50, 20, 1, "a").tolist()


def test_one_retraining_per_target_rule_and_k():
    removals = plan_removals(SCORES, IDS, (1, 2), together=False, training_seed=7)
    assert [(r.rule, r.k, r.targets, r.rows, r.seed) for r in removals[:2]] == [
        (NOTHING, 0, (0, 1), (), 7),
        (OTHER_SEED, 0, (0, 1), (), 8),
    ]
    assert len(removals) == 2 + 2 * 2 * 4
    assert {r.seed for r in removals[2:]} == {7}
    assert rows(removals, "one", 2) == {(0,): (0, 3), (1,): (2, 3)}
    assert rows(removals, "two", 1) == {(0,): (4,), (1,): (0,)}
    assert rows(removals, "least", 1) == {(0,): (4,), (1,): (0,)}  # by the first method


def test_equal_removals_share_one_retraining():
    removals = plan_removals(SCORES, IDS, (1,), together=False, training_seed=7)
    keys = {(r.rule, r.targets): r.key for r in removals}
    assert keys["two", (0,)] == keys["least", (0,)]
    assert keys["two", (0,)] != keys["one", (0,)]
    assert keys[NOTHING, (0, 1)] != keys[OTHER_SEED, (0, 1)]


def test_together_removes_the_union():
    removals = plan_removals(SCORES, IDS, (2,), together=True, training_seed=7, baselines=())
    assert rows(removals, "one", 2) == {(0, 1): (0, 2, 3)}
    assert rows(removals, "two", 2) == {(0, 1): (0, 1, 4)}
    with pytest.raises(SettingsError, match="all 5 training images"):
        plan_removals(SCORES, IDS, (4,), together=True, training_seed=7, baselines=())


def test_together_random_removes_as_many_as_the_methods_do():
    scores = {name: np.random.default_rng(i).normal(size=(20, 60)) for i, name in enumerate("abc")}
    scores["b"][:] = scores["b"][0]  # all targets have the same proponents
    ids = [f"target {i}" for i in range(20)]
    random_rows = []
    for k in (2, 4):
        rows_of = {
            r.rule: r.rows for r in plan_removals(scores, ids, (k,), together=True, training_seed=0)
        }
        assert len(rows_of["random"]) == sorted(len(rows_of[name]) for name in "abc")[1]
        random_rows.append(set(rows_of["random"]))
    assert random_rows[0] < random_rows[1]


@pytest.mark.parametrize("k", [0, 5])
def test_something_is_removed_and_something_is_left(k):
    with pytest.raises(SettingsError, match="leaves some of 5"):
        plan_removals(SCORES, IDS, (k,), together=False, training_seed=0)


def test_scores_are_checked():
    assert check_scores({"a": [[1, 2]]}, 1, 2)["a"].dtype == np.float64
    for scores, message in (
        ({}, "scores of at least one method"),
        ({"a": np.zeros((2, 3))}, "1 targets for 2 training images"),
        ({"a": np.array([[np.nan, 0]])}, "finite"),
        *(({name: np.zeros((1, 2))}, "baselines") for name in BASELINES),
    ):
        with pytest.raises(SettingsError, match=message):
            check_scores(scores, 1, 2)
